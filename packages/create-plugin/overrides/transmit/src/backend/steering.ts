/**
 * Which frames the card leads to the guest's VI: none. Everything arrives by the slow path. To receive as well, add
 * filters here, and answer a fence behind the frames that are on the slow path already.
 */
import type { BackendServices, ReceiveFence } from '@netaccel/core-hooks';
import type { NicControl, ViId, ViSteering } from '@netaccel/nic-vi';

/** The guest's filters. */
export class Steering implements ViSteering {
  constructor(
    private readonly services: BackendServices,
    private readonly nic: NicControl,
  ) {}

  /** Resolves to the point behind the last frame that goes the slow way: all do, so there is nothing to wait for. */
  start(vi: ViId): Promise<ReceiveFence> {
    this.services.log('debug', `VI ${vi} of port ${this.nic.port} sends only`);
    return Promise.resolve([]);
  }

  /** Leads no more there. */
  stop(_live: boolean): void {
    return;
  }

  /** For `netaccel explain`. */
  describe(): Readonly<Record<string, unknown>> {
    return { filter: null };
  }
}
