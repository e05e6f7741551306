/**
 * The network namespaces of a lab: one for each guest and driver domain that has a TAP, with that TAP in it.
 *
 * Opened before the lab's workers start and closed after they have ended: they use the descriptors. The kernel
 * removes all of it with the process, however that ends.
 */
import { openNetworkNamespaces } from '../tap/index.js';
import type { NetworkNamespace, NetworkNamespaces, TapDescription } from '../tap/index.js';
import type { LabAddress, LabDescription } from '../lab/index.js';

/** Name of each domain's interface in its namespace. */
export const INTERFACE = 'eth0';

/** Whether the lab has a domain behind a TAP. */
export function needsTaps(lab: LabDescription): boolean {
  return lab.hosts.some(
    (host) => host.driverDomain?.port === 'tap' || host.guests.some((guest) => guest.port.kind === 'tap'),
  );
}

/** The namespaces. */
export class LabNetworks {
  private readonly taps = new Map<string, TapDescription>();
  /** Where guests that have moved had their namespace made: by the name that they have now. */
  private readonly made = new Map<string, string>();

  private constructor(private readonly namespaces: NetworkNamespaces) {}

  /**
   * Makes them all; on failure none is left.
   * @throws TapError
   */
  static async open(lab: LabDescription): Promise<LabNetworks> {
    const networks = new LabNetworks(await openNetworkNamespaces());
    try {
      for (const host of lab.hosts) {
        if (host.driverDomain?.port === 'tap') networks.add(host.name, host.driverDomain);
        for (const guest of host.guests)
          if (guest.port.kind === 'tap') networks.add(keyOf(host.name, guest.name), guest);
      }
      return networks;
    } catch (error) {
      await networks.close();
      throw error;
    }
  }

  /** The TAP of a guest, or with null of the driver domain; null when it has none. */
  tapOf(host: string, guest: string | null): TapDescription | null {
    return this.taps.get(keyOf(host, guest)) ?? null;
  }

  /** The namespace likewise. */
  namespaceOf(host: string, guest: string | null): NetworkNamespace | undefined {
    const key = keyOf(host, guest);
    return this.namespaces.get(this.made.get(key) ?? key);
  }

  /** A guest is on another host now; its namespace and all that runs there is what it was. */
  moved(guest: string, from: string, to: string): void {
    const old = keyOf(from, guest);
    const made = this.made.get(old) ?? old;
    this.made.delete(old);
    this.made.set(keyOf(to, guest), made);
  }

  /** Ends every program in them, and them. Idempotent. */
  close(): Promise<void> {
    return this.namespaces.close();
  }

  private add(key: string, { mac, mtu, ip }: { mac: string; mtu: number; ip: LabAddress | null }): void {
    const tap = this.namespaces.add(key).openTap({
      name: INTERFACE,
      macAddress: mac,
      mtu,
      addresses: ip === null ? [] : [`${ip.address}/${ip.prefixBits}`],
    });
    this.taps.set(key, tap.describe());
  }
}

function keyOf(host: string, guest: string | null): string {
  return guest === null ? host : `${host}.${guest}`;
}
