/**
 * One vif: what its guest's half asks for, step by step, and the end of it all.
 *
 * Nothing is made before the guest asks, and every field of what it sends is bounded before use. `remove` needs nothing
 * from the guest: looking stops first, filters go before the VI, the VI before the pages that it used.
 */
import type { BackendAccelerator, BackendServices } from '@netaccel/core-hooks';
import {
  Answers,
  CONTROL_VERSIONS,
  ControlFeature,
  ControlMessage,
  MAX_CHECKED_ADDRESSES,
  Outbox,
  Refusal,
  commonVersion,
  decodeBuffers,
  decodeHello,
  decodeNothing,
  decodeRings,
  decodeStray,
  encodeBuffersReply,
  encodeHandover,
  encodeHello,
  encodeLink,
  encodeRate,
} from '@netaccel/nic-vi';
import type { BuffersMessage, Hello, NicControl, RingsMessage } from '@netaccel/nic-vi';
import { GuestVi } from './guest-vi.js';
import { Steering } from './steering.js';

/** Filters that one vif may be given at most, whatever its quota and the plugin's option say. */
export const MOST_FILTERS = 64;
/**
 * Pages of netfront's own transmit memory that the device may know besides the quota, which is for the pages that a
 * guest spends on the fast path alone: 8 MiB, for buffers of jumbo frames take 7.
 */
const MOST_TRANSMIT_PAGES = 2048;
/** Bytes that the NIC's longest frame has besides the payload: Ethernet header and VLAN tag. */
const HEADER_BYTES = 18;

/** Least rate limit, in bytes per second, of a vif that gains by the fast path: slower, frames only wait in the NIC. */
const LEAST_RATE = 1_000_000;

/** How far the guest's half has come. A message at the wrong step is a mistake. */
const enum Step {
  hello,
  rings,
  buffers,
  started,
  over,
}

const STEPS = ['hello', 'rings', 'buffers', 'started', 'over'];

/** A vif's accelerator. */
export class VifAccelerator implements BackendAccelerator {
  private readonly answers: Answers;
  private readonly vi: GuestVi;
  private readonly outbox: Outbox;
  private readonly steering: Steering;
  private readonly filterQuota: number;
  private step = Step.hello;
  /** Pages of receive buffers granted, and pages that the device knows. */
  private granted = 0;
  private receivePages = 0;
  private transmitPages = 0;
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
    const { mailbox, limits, port, vif } = services;
    const tooSlow = this.whyTooSlow();
    if (tooSlow !== null) throw new Error(tooSlow);
    if (vif.addresses !== undefined && vif.addresses.length > MAX_CHECKED_ADDRESSES)
      throw new Error(
        `at most ${MAX_CHECKED_ADDRESSES} IP addresses expected, which the NIC holds the guest to; the vif's key "ip" ` +
          `has ${vif.addresses.length}`,
      );
    this.filterQuota = Math.min(limits.maxFilters, mostFilters);
    this.vi = new GuestVi(services, nic);
    this.outbox = new Outbox(services);
    this.steering = new Steering(services, this.vi, this.outbox, this.filterQuota);
    this.stops.push(port.onReset(() => services.failed('the NIC was reset: its VIs and filters are gone')));
    this.answers = new Answers(mailbox, (reason) => services.failed(reason));
    this.answers.to(ControlMessage.hello, decodeHello, (hello) => this.welcome(hello));
    this.answers.to(ControlMessage.rings, decodeRings, (rings) => this.makeVi(rings));
    this.answers.to(ControlMessage.buffers, decodeBuffers, (buffers) => this.register(buffers));
    this.answers.to(ControlMessage.start, decodeNothing, () => this.start());
    this.answers.to(ControlMessage.stray, decodeStray, (filter) => this.steering.stray(filter));
    this.answers.to(ControlMessage.quiesce, decodeNothing, () => this.quiesce());
  }

  /** {@inheritDoc @netaccel/core-hooks!BackendAccelerator.remove} */
  async remove(): Promise<void> {
    this.step = Step.over;
    this.answers.close();
    this.stopLooking();
    this.outbox.close();
    this.steering.clear();
    await this.vi.close();
  }

  /** {@inheritDoc @netaccel/core-hooks!BackendAccelerator.describe} */
  describe(): Readonly<Record<string, unknown>> {
    const { vi, services } = this;
    const { current } = vi;
    return {
      port: services.port.name,
      step: STEPS[this.step],
      limits: services.limits,
      options: { filters: this.mostFilters },
      vi: current === null ? null : { number: current, ...vi.nic.viStatistics(current) },
      pages: { granted: this.granted, receive: this.receivePages, transmit: this.transmitPages },
      filters: this.steering.describe(),
      messages: { waiting: this.outbox.waiting, repeated: this.outbox.repeated },
      peer: { mistakes: this.answers.mistakes, last: this.answers.lastMistake },
    };
  }

  private welcome(hello: Hello): Uint8Array {
    this.expect(Step.hello);
    let version: number;
    try {
      version = commonVersion(hello);
    } catch (error) {
      // The guest is told which versions there are here.
      throw new Refusal(
        (error as Error).message,
        encodeHello({ ...CONTROL_VERSIONS, features: 0, bufferPages: 0 }),
      );
    }
    const { maxBufferPages } = this.services.limits;
    this.granted = hello.bufferPages === 0 ? maxBufferPages : Math.min(hello.bufferPages, maxBufferPages);
    const features = hello.features & ControlFeature.remoteAddresses;
    this.step = Step.rings;
    return encodeHello({ oldest: version, newest: version, features, bufferPages: this.granted });
  }

  private makeVi(rings: RingsMessage): Uint8Array {
    this.expect(Step.rings);
    const { vi, services, filterQuota: maxFilters } = this;
    const maxBufferPages = this.granted + MOST_TRANSMIT_PAGES;
    const handed = vi.open(rings, maxFilters, maxBufferPages, (bytes, most) => this.addCredit(bytes, most));
    this.step = Step.buffers;
    const can = vi.nic.capabilities;
    return encodeHandover({
      ...handed,
      vi: vi.id!,
      generation: vi.generation,
      startIndex: 0,
      mtu: Math.min(services.vif.mtu, can.maxFrameBytes - HEADER_BYTES),
      maxFragments: can.maxFragments,
      maxTransmitBytes: can.maxTransmitBytes,
      maxBufferPages,
      maxFilters,
      receiveChecksum: can.receiveChecksum === 1,
      transmitChecksum: can.transmitChecksum === 1,
      segmentation: can.segmentation === 1,
      mac: services.vif.mac,
      ...(services.vif.addresses !== undefined && { addresses: services.vif.addresses }),
    });
  }

  private register({ cookie, writable, refs }: BuffersMessage): Uint8Array {
    this.expect(Step.buffers);
    const used = writable ? this.receivePages : this.transmitPages;
    const most = writable ? this.granted : MOST_TRANSMIT_PAGES;
    if (used + refs.length > most)
      throw new Error(`buffers: at most ${most} pages expected, ${used} and ${refs.length} more seen`);
    const bus = this.vi.register(refs, writable);
    if (writable) this.receivePages += refs.length;
    else this.transmitPages += refs.length;
    return encodeBuffersReply({ cookie, count: refs.length, bus });
  }

  private start(): boolean {
    this.expect(Step.buffers);
    this.step = Step.started;
    this.tellRate();
    this.steering.start();
    this.stops.push(
      this.services.port.onLink((up) => {
        this.outbox.post(async () => {
          await this.outbox.tell(ControlMessage.link, encodeLink(up));
        });
      }),
    );
    return true;
  }

  /** The VI's share of the vif's rate limit. */
  private addCredit(bytes: number, most: number): number {
    const { vi } = this;
    if (this.services.rateBytesPerSecond !== this.rate) this.rateChanged();
    return vi.current === null ? bytes : vi.nic.addCredit(vi.current, bytes, most);
  }

  private rateChanged(): void {
    const tooSlow = this.whyTooSlow();
    if (tooSlow !== null) this.services.failed(tooSlow);
    else if (this.step === Step.started) this.tellRate();
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

  private async quiesce(): Promise<boolean> {
    this.expect(Step.started);
    this.step = Step.over;
    this.stopLooking();
    // The filter that is under way is open before it goes, so none of its frames waits for a fence any more.
    await this.outbox.drain();
    this.steering.clear();
    return true;
  }

  private stopLooking(): void {
    this.steering.stop();
    for (const stop of this.stops.splice(0)) stop();
  }

  /** A half that asks in the wrong order has lost its way, or has none: it is not served any more. */
  private expect(step: Step): void {
    if (this.step === step) return;
    const reason = `the guest's half asked for step "${STEPS[step]!}" of the set-up at step "${STEPS[this.step]!}"`;
    if (this.step !== Step.over) this.services.failed(reason);
    throw new Error(reason);
  }
}
