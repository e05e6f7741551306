/**
 * Tells systemd how the service is (sd_notify(3)): ready, stopping, alive. Datagrams to the socket that systemd names
 * in `NOTIFY_SOCKET`; Node has none of that kind, so the C library sends them.
 */
import { OpenFlag, SOCK_DGRAM, SocketFamily } from '../tap/abi.js';
import type { Libc } from '../tap/index.js';

/** `sun_family`, then the path. */
const FAMILY_BYTES = 2;
/** Longest path with its end: sys/un.h. */
const PATH_BYTES = 108;

/** The service's manager. */
export class ServiceManager {
  private readonly socket: number;
  private readonly name: Uint8Array;
  private readonly nameAddress: number;
  private timer: NodeJS.Timeout | null = null;

  /**
   * @param path value of `NOTIFY_SOCKET`; `@` begins one in the abstract namespace.
   * @param watchdogUs value of `WATCHDOG_USEC`, or null: how long the manager waits for a sign of life.
   */
  constructor(
    private readonly libc: Libc,
    path: string,
    private readonly watchdogUs: number | null,
  ) {
    const bytes = Buffer.from(path);
    this.name = new Uint8Array(new ArrayBuffer(FAMILY_BYTES + Math.min(bytes.length, PATH_BYTES)));
    new DataView(this.name.buffer).setUint16(0, SocketFamily.unix, true);
    this.name.set(bytes.subarray(0, PATH_BYTES), FAMILY_BYTES);
    if (path.startsWith('@')) this.name[FAMILY_BYTES] = 0;
    this.nameAddress = libc.addressOf(this.name);
    this.socket = libc.socket(SocketFamily.unix, SOCK_DGRAM | OpenFlag.closeOnExec | OpenFlag.nonBlocking, 0);
  }

  /** What the environment names, or null when the service has no such manager. */
  static fromEnvironment(libc: Libc, environment: NodeJS.ProcessEnv): ServiceManager | null {
    const { NOTIFY_SOCKET: path, WATCHDOG_USEC: watchdog, WATCHDOG_PID: process } = environment;
    if (path === undefined || !/^[/@]./.test(path)) return null;
    const isOurs = process === undefined || process === String(globalThis.process.pid);
    const isWatched = isOurs && watchdog !== undefined && /^\d{1,15}$/.test(watchdog) && Number(watchdog) > 0;
    return new ServiceManager(libc, path, isWatched ? Number(watchdog) : null);
  }

  /** The service serves; from now on it gives signs of life, as long as its event loop turns. */
  ready(status: string): void {
    this.send(`READY=1\nSTATUS=${oneLine(status)}`);
    if (this.watchdogUs === null || this.timer !== null) return;
    this.timer = setInterval(
      () => {
        this.send('WATCHDOG=1');
      },
      this.watchdogUs / 1000 / 2,
    );
    this.timer.unref();
  }

  /** What it does now, for `systemctl status`. */
  status(status: string): void {
    this.send(`STATUS=${oneLine(status)}`);
  }

  /** It ends. The signs of life go on until the process does. */
  stopping(): void {
    this.send('STOPPING=1');
  }

  /** Closes the socket. */
  close(): void {
    if (this.timer !== null) clearInterval(this.timer);
    this.timer = null;
    this.libc.close(this.socket);
  }

  private send(text: string): void {
    const bytes = new Uint8Array(new ArrayBuffer(Buffer.byteLength(text)));
    new TextEncoder().encodeInto(text, bytes);
    // A manager that does not listen is no reason to stop serving.
    this.libc.sendTo(
      this.socket,
      this.libc.addressOf(bytes),
      bytes.length,
      this.nameAddress,
      this.name.length,
    );
  }
}

function oneLine(text: string): string {
  return text.replaceAll('\n', ' ');
}
