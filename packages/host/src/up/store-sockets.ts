/**
 * The stores of a lab's hosts on Unix sockets, so that the stock xenstore tools can look inside
 * (`netaccel up --store-socket`). Made when the lab is up, closed before it goes. Held by `RunningLab`.
 */
import { serveSocket } from '@netaccel/xen/store/socket';
import type { StoreSocket } from '@netaccel/xen/store/socket';
import type { WorkerHost } from '../machine/worker-lab.js';

/** The sockets, by host. */
export class StoreSockets {
  private readonly sockets = new Map<string, StoreSocket>();

  /**
   * Serves each host's store: at `path` where there is one host, at `path.HOST` where there are several.
   * @throws StoreSocketError; nothing is served then.
   */
  static async open(path: string, hosts: readonly WorkerHost[]): Promise<StoreSockets> {
    const all = new StoreSockets();
    try {
      for (const { name, machine } of hosts)
        all.sockets.set(
          name,
          await serveSocket(machine.storeServer, hosts.length === 1 ? path : `${path}.${name}`),
        );
      return all;
    } catch (error) {
      all.close();
      throw error;
    }
  }

  /** Where a host's store is served, or null. */
  pathOf(host: string): string | null {
    return this.sockets.get(host)?.path ?? null;
  }

  /** Hangs up on everyone, and removes the sockets. Idempotent. */
  close(): void {
    for (const socket of this.sockets.values()) socket.close();
    this.sockets.clear();
  }
}
