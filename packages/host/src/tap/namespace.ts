/**
 * Network namespaces of a lab: one per guest and driver domain, held by this process alone.
 *
 * A namespace is a descriptor of ours. To act in one, the calling thread goes there, does one synchronous
 * thing and comes home; other threads never notice. There is no helper process, nothing in the file system,
 * and nothing to clean up after a crash: with the process, the kernel ends the programs, TAPs and namespaces.
 */
import type { ChildProcess } from 'node:child_process';
import { readFileSync, readdirSync, readlinkSync, writeFileSync } from 'node:fs';
import { CLONE_NEWNET, OpenFlag } from './abi.js';
import { TapError, checked, errnoName } from './error.js';
import { loadLibc } from './ffi.js';
import type { Libc } from './ffi.js';
import { InterfaceControl } from './interface.js';
import { TapInterface, openTap } from './tap-interface.js';
import type { TapOptions } from './tap-interface.js';
import { spawnTethered } from './tether.js';
import type { TetherOptions } from './tether.js';
import { mayMakeNamespaces } from './user-namespace.js';

const THREAD_NAMESPACE = '/proc/thread-self/ns/net';
const DEFAULT_MTU = 1500;

/** What a namespace holds. */
export interface NamespaceReport {
  /** Its name in the lab. */
  readonly name: string;
  /** The kernel's name, such as `net:[4026532177]`. */
  readonly kernelName: string;
  /** TAPs that are open. */
  readonly taps: readonly string[];
  /** Numbers of the programs in it, also of those that others started there. */
  readonly processes: readonly number[];
}

/** A guest's network: its own interfaces, addresses, routes and sockets. */
export class NetworkNamespace {
  /** The kernel's name. */
  readonly kernelName: string;
  private readonly taps = new Set<TapInterface>();
  private readonly children = new Set<ChildProcess>();
  private readonly control: InterfaceControl;
  private closing: Promise<void> | undefined;

  /** Made by {@link NetworkNamespaces.add}. `descriptor` and `home` are namespaces; this object closes the first. */
  constructor(
    private readonly libc: Libc,
    readonly name: string,
    private readonly descriptor: number,
    private readonly home: number,
    private readonly onClose: () => void,
  ) {
    [this.kernelName, this.control] = this.inside(() => {
      const control = new InterfaceControl(libc);
      try {
        control.setUp('lo');
        return [readlinkSync(THREAD_NAMESPACE), control] as const;
      } catch (error) {
        control.close();
        throw error;
      }
    });
  }

  /** Where it is in the file system, as long as it is open: what `nsenter --net=` takes. */
  get path(): string {
    return `/proc/${process.pid}/fd/${this.descriptor}`;
  }

  /**
   * Runs `action` with the calling thread in this namespace: sockets made and /proc/sys/net read or written
   * there are the namespace's. It must be synchronous and start no thread (no worker, no asynchronous file or
   * name look-up: the thread pool would be born inside and stay there).
   */
  inside<T>(action: () => T): T {
    if (this.closing !== undefined) {
      throw new TapError('CLOSED', `The namespace ${this.name} is closed. Make a new one.`);
    }
    checked(
      this.libc,
      this.libc.setns(this.descriptor, CLONE_NEWNET),
      `enter the namespace ${this.name}`,
      'Use it in the process that made it.',
    );
    try {
      return action();
    } finally {
      if (this.libc.setns(this.home, CLONE_NEWNET) !== 0) this.lost();
    }
  }

  /** Makes a TAP with the given settings, and switches it on. */
  openTap(options: TapOptions): TapInterface {
    const { name, macAddress, mtu = DEFAULT_MTU, addresses = [], offloads = true } = options;
    const descriptor = this.inside(() => openTap(this.libc, name, offloads));
    const tap = new TapInterface(this.libc, name, descriptor, (closed) => this.taps.delete(closed));
    this.taps.add(tap);
    try {
      if (macAddress !== undefined) this.control.setMacAddress(name, macAddress);
      this.control.setMtu(name, mtu);
      this.quietIpv6(
        name,
        addresses.some((address) => address.includes(':')),
      );
      this.control.setUp(name);
      for (const address of addresses) this.control.setAddress(name, address);
    } catch (error) {
      tap.close();
      throw error;
    }
    return tap;
  }

  /** Writes a setting below /proc/sys/net, such as `ipv4/tcp_congestion_control`. */
  setSysctl(path: string, value: string | number): void {
    this.inside(() => writeFileSync(`/proc/sys/net/${path}`, String(value)));
  }

  /** Reads a setting below /proc/sys/net. */
  sysctl(path: string): string {
    return this.inside(() => readFileSync(`/proc/sys/net/${path}`, 'utf8').trim());
  }

  /**
   * Starts a program in this namespace; as `child_process.spawn`. It is killed when the calling thread ends,
   * so also when the process does, and by {@link close}. A command that is not found exits with code 127.
   */
  spawn(command: string, args: readonly string[] = [], options: TetherOptions = {}): ChildProcess {
    const child = this.inside(() => spawnTethered(command, args, options));
    // Without a number it never started, and its 'error' event, which is the caller's, is all that comes.
    if (child.pid !== undefined) {
      this.children.add(child);
      child.once('exit', () => this.children.delete(child));
    }
    return child;
  }

  /** What it holds now. */
  describe(): NamespaceReport {
    return {
      name: this.name,
      kernelName: this.kernelName,
      taps: [...this.taps].map((tap) => tap.name),
      processes: processesIn(this.kernelName),
    };
  }

  /**
   * Kills every program in it, waits for those that it started, removes its TAPs, and lets the kernel remove
   * the namespace. Threads that serve its TAPs must have stopped.
   */
  close(): Promise<void> {
    this.closing ??= this.end();
    return this.closing;
  }

  private async end(): Promise<void> {
    const ended = [...this.children].map((child) => new Promise((resolve) => child.once('exit', resolve)));
    for (const child of this.children) child.kill('SIGKILL');
    await Promise.all(ended);
    // Now the programs that those started; each round can only meet what the last one was too early for.
    for (let found = processesIn(this.kernelName); found.length > 0; found = processesIn(this.kernelName)) {
      found.forEach(killProcess);
      await new Promise(setImmediate);
    }
    for (const tap of this.taps) tap.close();
    this.control.close();
    this.libc.close(this.descriptor);
    this.onClose();
  }

  /** Without IPv6 addresses no IPv6 traffic; with them, no waiting for duplicate address detection. */
  private quietIpv6(name: string, wanted: boolean): void {
    const [setting, value] = wanted ? ['accept_dad', '0'] : ['disable_ipv6', '1'];
    try {
      this.setSysctl(`ipv6/conf/${name}/${setting}`, value);
    } catch (error) {
      // A kernel without IPv6, or a container that shows /proc/sys read-only: noise at worst, no reason to fail.
      const code = (error as NodeJS.ErrnoException).code ?? '';
      if (!['ENOENT', 'EROFS', 'EACCES'].includes(code)) throw error;
    }
  }

  private lost(): never {
    const name = errnoName(this.libc.errno());
    throw new TapError(
      'THREAD_LOST',
      `This thread entered the namespace ${this.name} and cannot return: ${name}. End the process.`,
      name,
    );
  }
}

/** The namespaces of a lab. Belongs to the thread that made it. */
export class NetworkNamespaces {
  private readonly namespaces = new Map<string, NetworkNamespace>();
  private closed = false;

  /** Made by {@link openNetworkNamespaces}; it closes `home`, the calling thread's own namespace. */
  constructor(
    private readonly libc: Libc,
    private readonly home: number,
  ) {}

  /** Makes a namespace whose loopback is up and that holds nothing else. */
  add(name: string): NetworkNamespace {
    if (this.closed) throw new TapError('CLOSED', 'These namespaces are closed. Open new ones.');
    if (this.namespaces.has(name)) {
      throw new TapError('BAD_VALUE', `There is a namespace named ${name} already. Choose another name.`);
    }
    const descriptor = this.unshare(name);
    try {
      const namespace = new NetworkNamespace(this.libc, name, descriptor, this.home, () =>
        this.namespaces.delete(name),
      );
      this.namespaces.set(name, namespace);
      return namespace;
    } catch (error) {
      this.libc.close(descriptor);
      throw error;
    }
  }

  /** The namespace of that name. */
  get(name: string): NetworkNamespace | undefined {
    return this.namespaces.get(name);
  }

  /** What all of them hold now. */
  describe(): NamespaceReport[] {
    return [...this.namespaces.values()].map((namespace) => namespace.describe());
  }

  /** Closes all; see {@link NetworkNamespace.close}. Idempotent. */
  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    await Promise.all([...this.namespaces.values()].map((namespace) => namespace.close()));
    this.libc.close(this.home);
  }

  private unshare(name: string): number {
    const { libc } = this;
    checked(libc, libc.unshare(CLONE_NEWNET), `make the namespace ${name}`, 'Raise user.max_net_namespaces.');
    const descriptor = libc.open(THREAD_NAMESPACE, OpenFlag.readOnly | OpenFlag.closeOnExec);
    const openErrno = libc.errno();
    if (libc.setns(this.home, CLONE_NEWNET) !== 0) {
      const errno = errnoName(libc.errno());
      throw new TapError(
        'THREAD_LOST',
        `This thread made ${name} and cannot return: ${errno}. End the process.`,
        errno,
      );
    }
    if (descriptor >= 0) return descriptor;
    const errno = errnoName(openErrno);
    throw new TapError(
      'SYSTEM_CALL',
      `Cannot hold the namespace ${name}: ${errno}. Raise "ulimit -n".`,
      errno,
    );
  }
}

/**
 * Opens an empty set of namespaces. The process must have the right to: root has, and after
 * `enterUserNamespace` everyone.
 * @throws TapError `UNSUPPORTED_PLATFORM`, `NO_KOFFI`, `NO_USER_NAMESPACE`.
 */
export async function openNetworkNamespaces(): Promise<NetworkNamespaces> {
  const libc = await loadLibc();
  if (!mayMakeNamespaces(libc)) {
    throw new TapError(
      'NO_USER_NAMESPACE',
      'This process may not make network namespaces. Call enterUserNamespace at the start of the program.',
    );
  }
  const home = libc.open(THREAD_NAMESPACE, OpenFlag.readOnly | OpenFlag.closeOnExec);
  return new NetworkNamespaces(libc, checked(libc, home, `open ${THREAD_NAMESPACE}`, 'Is /proc mounted?'));
}

function processesIn(kernelName: string): number[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry) && namespaceOf(entry) === kernelName)
    .map(Number)
    .filter((pid) => pid !== process.pid);
}

function namespaceOf(pid: string): string {
  try {
    return readlinkSync(`/proc/${pid}/ns/net`);
  } catch {
    // Ended meanwhile, or another user's.
    return '';
  }
}

function killProcess(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
