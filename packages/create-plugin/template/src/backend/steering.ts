/**
 * Which frames the card leads to the guest's VI: here all that are addressed to the guest, by one filter on its MAC
 * address, with any VLAN tag or none. A filter for each flow takes more code and lets flows choose; see the
 * reference plugin (`@netaccel/dummy-accel-backend`).
 *
 * Order. The filter takes effect at once, while earlier frames are still on the slow path. So the guest is given a
 * fence behind those, and takes nothing from its VI before that has passed.
 */
import type { BackendServices, ReceiveFence } from '@netaccel/core-hooks';
import type { FilterId, NicControl, ViId, ViSteering } from '@netaccel/nic-vi';

/** The guest's filter. */
export class Steering implements ViSteering {
  private filter: FilterId | null = null;

  constructor(
    private readonly services: BackendServices,
    private readonly nic: NicControl,
  ) {}

  /** Leads frames to the VI; resolves to the point behind the last one that goes the slow way. */
  async start(vi: ViId): Promise<ReceiveFence> {
    const { port, vif, limits } = this.services;
    if (limits.maxFilters === 0) return []; // its quota: it sends only
    this.filter = this.nic.addFilter(vi, { kind: 'mac', mac: vif.mac });
    await port.received(); // what the card gave the driver domain before
    return this.services.fence(); // and what of that is on its way to the guest
  }

  /** Leads no more there. `live`: the card has not forgotten the VI. */
  stop(live: boolean): void {
    if (this.filter !== null && live) this.nic.removeFilter(this.filter);
    this.filter = null;
  }

  /** For `netaccel explain`. */
  describe(): Readonly<Record<string, unknown>> {
    return { filter: this.filter };
  }
}
