/** What labs with TAPs are made on: a namespace and a TAP for each network stack, and the waking of their threads. */
import { WorkerLab } from '../machine/worker-lab.js';
import type { WorkerGuestPlan, WorkerHostPlan, WorkerLabPlan } from '../machine/worker-lab.js';
import { Kicker, loadLibc, openNetworkNamespaces } from '../tap/index.js';
import type { Libc, NetworkNamespace, NetworkNamespaces, TapDescription } from '../tap/index.js';

/** Payload bytes of a frame on the wire. */
export const MTU = 1500;
/** How long a bridge remembers. */
export const AGEING_MS = 300_000;
const PAGES = 32 * 1024;
/** Room in the NIC for receive buffers and all transmit memory. */
const LIMITS = { filters: 8, bufferPages: 2048, multicasts: 8 };

/** What a lab is started with. */
export interface TcpLabOptions {
  /** Folder that plugin names are resolved from. */
  readonly pluginsFrom: string;
  /** Tells what goes on. */
  readonly progress: (what: string) => void;
}

/** Namespaces and TAPs. The process is in its user namespace already. */
export class TapBase {
  private readonly byName = new Map<string, NetworkNamespace>();
  private readonly kickers = new Map<number, Kicker>();

  private constructor(
    private readonly options: TcpLabOptions,
    private readonly libc: Libc,
    private readonly namespaces: NetworkNamespaces,
  ) {}

  /** Begins. */
  static async open(options: TcpLabOptions): Promise<TapBase> {
    options.progress('making namespaces and TAPs');
    return new TapBase(options, await loadLibc(), await openNetworkNamespaces());
  }

  /** A namespace with a TAP. */
  tap(name: string, macAddress: string, address: string): TapDescription {
    const namespace = this.namespaces.add(name);
    this.byName.set(name, namespace);
    return namespace.openTap({ name: 'eth0', mtu: MTU, macAddress, addresses: [`${address}/24`] }).describe();
  }

  /** A guest with its TAP. */
  guest(name: string, mac: string, address: string, accel: string | null): WorkerGuestPlan {
    return {
      name,
      vif: { mac, mtu: MTU, accel, rate: null, limits: LIMITS },
      queues: 1,
      tap: this.tap(name, mac, address),
    };
  }

  /** Starts the lab. On failure everything is closed. */
  async start(hosts: readonly WorkerHostPlan[], wires: WorkerLabPlan['wires']): Promise<WorkerLab> {
    try {
      return await WorkerLab.start(
        {
          pages: PAGES,
          hosts,
          wires,
          merging: true,
          pluginsFrom: this.options.pluginsFrom,
          wake: (handle) => {
            this.wake(handle);
          },
          log: (level, message) => {
            if (level === 'warn' || level === 'error') process.stderr.write(`${message}\n`);
          },
        },
        this.options.progress,
      );
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  /** The namespace of that name; a lab asks for its own only. */
  namespace(name: string): NetworkNamespace {
    return this.byName.get(name)!;
  }

  /** Closes namespaces and TAPs; the threads that used them have ended. */
  close(): Promise<void> {
    return this.namespaces.close();
  }

  private wake(handle: number): void {
    let kicker = this.kickers.get(handle);
    if (kicker === undefined) this.kickers.set(handle, (kicker = new Kicker(this.libc, handle)));
    kicker.kick();
  }
}
