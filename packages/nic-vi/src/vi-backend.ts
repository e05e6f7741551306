/**
 * The driver domain's half of a plugin whose guests take what is led to their VI as a whole, behind one fence: all of
 * it but the choice of what is led there, which is the plugin's {@link ViSteering}.
 *
 * The reference plugin, with a fence for each filter, is made of the same parts in its own way.
 */
import type { BackendAccelerator, BackendServices, Frame, ReceiveFence } from '@netaccel/core-hooks';
import type { NicControl, ViId } from './control.js';
import { macHigh, macLow } from './mac-table.js';
import { Outbox } from './outbox.js';
import { ControlMessage, encodeFence } from './protocol.js';
import { Sightings } from './sightings.js';
import { ViServer } from './vi-server.js';

const GROUP_BIT = 1;

/** Which frames the NIC leads to the guest's VI. */
export interface ViSteering {
  /**
   * Leads frames there; resolves to the point behind the last frame that goes the slow way, or to `[]` when nothing
   * is led. The guest takes nothing from its VI before that has passed.
   */
  start(vi: ViId): Promise<ReceiveFence>;
  /** Leads no more there. `live`: the NIC has not forgotten the VI and its filters. May be called twice. */
  stop(live: boolean): void;
  /** For `explain`. */
  describe(): Readonly<Record<string, unknown>>;
}

/** See the top of the file. */
export class ViBackend implements BackendAccelerator {
  private readonly server: ViServer;
  private readonly outbox: Outbox;
  private readonly sightings: Sightings;
  private readonly bytes: Uint8Array;
  private readonly ownHigh: number;
  private readonly ownLow: number;
  private readonly stops: (() => void)[] = [];
  /** An address came here that the guest was not told of. */
  private lost = false;
  /** Frames are led to the guest, and it is told so. */
  private opening: Promise<void> = Promise.resolve();

  /**
   * Answers the guest's half from here on.
   * @param services what netback handed over.
   * @param nic the port's NIC.
   * @param steering what is led to the guest.
   * @param maxReceivePages pages of receive buffers at most, besides the vif's own quota.
   * @throws when the vif has more IP addresses than the NIC can hold it to.
   */
  constructor(
    private readonly services: BackendServices,
    nic: NicControl,
    private readonly steering: ViSteering,
    maxReceivePages = Infinity,
  ) {
    const { memory, vif, port, limits } = services;
    this.bytes = memory.bytes;
    this.ownHigh = macHigh(vif.mac, 0);
    this.ownLow = macLow(vif.mac, 0);
    this.outbox = new Outbox(services);
    this.sightings = new Sightings(services, this.outbox);
    this.stops.push(port.onReset(() => services.failed('the NIC was reset: its VIs and filters are gone')));
    try {
      this.server = new ViServer(services, nic, {
        maxFilters: limits.maxFilters,
        maxReceivePages,
        start: () => {
          this.look();
          this.opening = this.open();
        },
        quiesce: async () => {
          await this.opening; // whoever waits for the fence gets it, and delivers in order
          this.stopLooking();
        },
      });
    } catch (error) {
      for (const stop of this.stops.splice(0)) stop();
      throw error;
    }
  }

  /** The hook `remove` of the contract. */
  async remove(): Promise<void> {
    this.server.end();
    this.stopLooking();
    this.outbox.close();
    await this.server.vi.close();
  }

  /** The hook `describe` of the contract. */
  describe(): Readonly<Record<string, unknown>> {
    return {
      ...this.server.describe(),
      steering: this.steering.describe(),
      messages: { waiting: this.outbox.waiting, repeated: this.outbox.repeated },
      untold: this.sightings.untold,
    };
  }

  private look(): void {
    const { port } = this.services;
    this.stops.push(port.onReceive((frame) => this.arrived(frame)));
    this.stops.push(port.onTransmit((frame) => this.leaves(frame)));
  }

  /** What is for others tells nothing of who this guest may speak with. */
  private arrived(frame: Frame): void {
    const { bytes } = this;
    const { address } = frame;
    const own = macLow(bytes, address) === this.ownLow && macHigh(bytes, address) === this.ownHigh;
    if (own || (bytes[address]! & GROUP_BIT) !== 0) this.sightings.arrived(frame);
  }

  /** Who is here must be told of, or the guest sends into the wire for it. */
  private leaves(frame: Frame): void {
    this.sightings.leaves(frame);
    if (!this.sightings.missed || this.lost) return;
    this.lost = true;
    this.services.failed('more addresses came to this host than the guest can be told of');
  }

  /** Leads frames there, and tells the guest what they come after. */
  private async open(): Promise<void> {
    const { services, server } = this;
    try {
      const { current } = server.vi;
      if (current === null) throw new Error('the VI is gone: the NIC was reset');
      const fence = await this.steering.start(current);
      if (server.step !== 'started') return;
      const { ok } = await services.mailbox.request(ControlMessage.open, encodeFence(fence));
      if (!ok) throw new Error('it refused the fence');
    } catch (error) {
      if (server.step === 'started')
        services.failed(
          `the guest's half was not opened: ${error instanceof Error ? error.message : String(error)}`,
        );
    }
  }

  private stopLooking(): void {
    this.steering.stop(this.server.vi.current !== null);
    for (const stop of this.stops.splice(0)) stop();
  }
}
