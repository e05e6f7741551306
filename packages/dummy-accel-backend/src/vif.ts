/**
 * One vif: what is done when its guest's half is ready, its rate limit, and the end of it all. What the half asks for
 * before, step by step, is `ViServer`'s.
 *
 * `remove` needs nothing from the guest: looking stops first, filters go before the VI, the VI before its pages.
 */
import type { BackendAccelerator, BackendServices } from '@netaccel/core-hooks';
import { ControlMessage, Outbox, ViServer, decodeStray, encodeLink, encodeRate } from '@netaccel/nic-vi';
import type { NicControl } from '@netaccel/nic-vi';
import { Steering } from './steering.js';

/** Filters that one vif may be given at most, whatever its quota and the plugin's option say. */
export const MOST_FILTERS = 64;
/** Least rate limit, in bytes per second, of a vif that gains by the fast path: slower, frames only wait in the NIC. */
const LEAST_RATE = 1_000_000;

/** A vif's accelerator. */
export class VifAccelerator implements BackendAccelerator {
  private readonly server: ViServer;
  private readonly outbox: Outbox;
  private readonly steering: Steering;
  /** The rate limit that the guest's half knows of. */
  private rate = 0;
  private readonly stops: (() => void)[] = [];

  /**
   * Answers the guest's half from here on.
   * @param mostFilters filters that the vif is given at most, whatever its quota says.
   * @throws when the vif is one that must not be accelerated.
   */
  constructor(
    private readonly services: BackendServices,
    nic: NicControl,
    private readonly mostFilters: number,
  ) {
    const { limits, port } = services;
    const tooSlow = this.whyTooSlow();
    if (tooSlow !== null) throw new Error(tooSlow);
    const maxFilters = Math.min(limits.maxFilters, mostFilters);
    this.outbox = new Outbox(services);
    this.stops.push(port.onReset(() => services.failed('the NIC was reset: its VIs and filters are gone')));
    this.server = new ViServer(services, nic, {
      maxFilters,
      credit: (bytes, most) => this.addCredit(bytes, most),
      start: () => this.start(),
      quiesce: () => this.quiesce(),
    });
    this.server.answers.to(ControlMessage.stray, decodeStray, (filter) => this.steering.stray(filter));
    this.steering = new Steering(services, this.server.vi, this.outbox, maxFilters);
  }

  /** {@inheritDoc @netaccel/core-hooks!BackendAccelerator.remove} */
  async remove(): Promise<void> {
    this.server.end();
    this.stopLooking();
    this.outbox.close();
    this.steering.clear();
    await this.server.vi.close();
  }

  /** {@inheritDoc @netaccel/core-hooks!BackendAccelerator.describe} */
  describe(): Readonly<Record<string, unknown>> {
    const { services } = this;
    return {
      port: services.port.name,
      limits: services.limits,
      options: { filters: this.mostFilters },
      ...this.server.describe(),
      filters: this.steering.describe(),
      messages: { waiting: this.outbox.waiting, repeated: this.outbox.repeated },
    };
  }

  /** The guest's half is ready. */
  private start(): void {
    this.tellRate();
    this.steering.start();
    this.stops.push(
      this.services.port.onLink((up) => {
        this.outbox.post(async () => {
          await this.outbox.tell(ControlMessage.link, encodeLink(up));
        });
      }),
    );
  }

  /** The VI's share of the vif's rate limit. */
  private addCredit(bytes: number, most: number): number {
    const { vi } = this.server;
    if (this.services.rateBytesPerSecond !== this.rate) this.rateChanged();
    return vi.current === null ? bytes : vi.nic.addCredit(vi.current, bytes, most);
  }

  private rateChanged(): void {
    const tooSlow = this.whyTooSlow();
    if (tooSlow !== null) this.services.failed(tooSlow);
    else if (this.server.step === 'started') this.tellRate();
  }

  /** The guest's half keeps little waiting in a VI with a limit. One that does not know the message need not. */
  private tellRate(): void {
    const rate = this.services.rateBytesPerSecond;
    if (rate === this.rate) return;
    const posted = this.outbox.post(async () => {
      await this.outbox.tell(ControlMessage.rate, encodeRate(rate));
    });
    if (posted) this.rate = rate;
  }

  private whyTooSlow(): string | null {
    const rate = this.services.rateBytesPerSecond;
    if (rate === 0 || rate >= LEAST_RATE) return null;
    return (
      `the vif is limited to ${rate} bytes per second; below ${LEAST_RATE} the fast path gains nothing, ` +
      `raise its key "rate" to have it accelerated`
    );
  }

  private async quiesce(): Promise<void> {
    this.stopLooking();
    // The filter that is under way is open before it goes, so none of its frames waits for a fence any more.
    await this.outbox.drain();
    this.steering.clear();
  }

  private stopLooking(): void {
    this.steering.stop();
    for (const stop of this.stops.splice(0)) stop();
  }
}
