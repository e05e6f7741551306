/**
 * The driver domain's end of the control protocol: what a guest's half may ask for, in which order, and the VI that it
 * gets. Which frames are led there is the plugin's own.
 *
 * Nothing is made before the guest asks, and every field of what it sends is bounded before use. One for each vif.
 */
import type { BackendServices, CreditHandler } from '@netaccel/core-hooks';
import { Answers, Refusal, decodeNothing } from './answer.js';
import type { NicControl } from './control.js';
import { GuestVi } from './guest-vi.js';
import {
  MAX_CHECKED_ADDRESSES,
  decodeBuffers,
  decodeRings,
  encodeBuffersReply,
  encodeHandover,
} from './messages.js';
import type { BuffersMessage, RingsMessage } from './messages.js';
import {
  CONTROL_VERSIONS,
  ControlFeature,
  ControlMessage,
  commonVersion,
  decodeHello,
  encodeHello,
} from './protocol.js';
import type { Hello } from './protocol.js';

/**
 * Pages of netfront's own transmit memory that the NIC may know besides the quota, which is for the pages that a
 * guest spends on the fast path alone: 8 MiB, for buffers of jumbo frames take 7.
 */
const MOST_TRANSMIT_PAGES = 2048;
/** Bytes that the NIC's longest frame has besides the payload: Ethernet header and VLAN tag. */
const HEADER_BYTES = 18;

/** How far a guest's half has come. A message at the wrong step is a mistake. */
export type ViStep = 'hello' | 'rings' | 'buffers' | 'started' | 'over';

/** What a plugin has done at the steps, and how far it lets the guest go. */
export interface ViServerPlan {
  /** Receive filters that the guest is told of, and its VI is held to. */
  readonly maxFilters: number;
  /** Pages of receive buffers at most, besides the vif's own quota; no other limit when left out. */
  readonly maxReceivePages?: number;
  /** Takes the fast path's share of the vif's rate limit. Left out by a plugin that accelerates no vif with a limit. */
  readonly credit?: CreditHandler;
  /** The guest's half is ready: frames may be led to the VI from now on. */
  start(): void;
  /** The guest's half asks for no more frames: resolves when no filter is left. */
  quiesce(): Promise<void>;
}

/** See the top of the file. */
export class ViServer {
  /** The guest's VI. */
  readonly vi: GuestVi;
  /** What answers the guest's half: a plugin adds messages of its own. */
  readonly answers: Answers;
  private at: ViStep = 'hello';
  /** Pages of receive buffers granted, and pages that the NIC knows. */
  private granted = 0;
  private receivePages = 0;
  private transmitPages = 0;

  /**
   * Answers the guest's half from here on.
   * @param services what netback handed over.
   * @param nic the port's NIC.
   * @param plan what the plugin has done at the steps.
   * @throws when the vif has more IP addresses than the NIC can hold it to.
   */
  constructor(
    private readonly services: BackendServices,
    nic: NicControl,
    private readonly plan: ViServerPlan,
  ) {
    const { addresses } = services.vif;
    if (addresses !== undefined && addresses.length > MAX_CHECKED_ADDRESSES)
      throw new Error(
        `at most ${MAX_CHECKED_ADDRESSES} IP addresses expected, which the NIC holds the guest to; the vif's key "ip" ` +
          `has ${addresses.length}`,
      );
    this.vi = new GuestVi(services, nic);
    this.answers = new Answers(services.mailbox, (reason) => services.failed(reason));
    this.answers.to(ControlMessage.hello, decodeHello, (hello) => this.welcome(hello));
    this.answers.to(ControlMessage.rings, decodeRings, (rings) => this.makeVi(rings));
    this.answers.to(ControlMessage.buffers, decodeBuffers, (buffers) => this.register(buffers));
    this.answers.to(ControlMessage.start, decodeNothing, () => this.start());
    this.answers.to(ControlMessage.quiesce, decodeNothing, () => this.quiesce());
  }

  /** How far the guest's half has come. */
  get step(): ViStep {
    return this.at;
  }

  /** Refuses whatever the guest's half asks for from here on. The VI is the caller's to close, behind its filters. */
  end(): void {
    this.at = 'over';
    this.answers.close();
  }

  /** For `explain`. */
  describe(): Readonly<Record<string, unknown>> {
    const { vi } = this;
    const { current } = vi;
    return {
      step: this.at,
      vi: current === null ? null : { number: current, ...vi.nic.viStatistics(current) },
      pages: { granted: this.granted, receive: this.receivePages, transmit: this.transmitPages },
      peer: { mistakes: this.answers.mistakes, last: this.answers.lastMistake },
    };
  }

  private welcome(hello: Hello): Uint8Array {
    this.expect('hello');
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
    const most = Math.min(this.services.limits.maxBufferPages, this.plan.maxReceivePages ?? Infinity);
    this.granted = hello.bufferPages === 0 ? most : Math.min(hello.bufferPages, most);
    const features = hello.features & ControlFeature.remoteAddresses;
    this.at = 'rings';
    return encodeHello({ oldest: version, newest: version, features, bufferPages: this.granted });
  }

  private makeVi(rings: RingsMessage): Uint8Array {
    this.expect('rings');
    const { vi, services } = this;
    const { maxFilters, credit } = this.plan;
    const maxBufferPages = this.granted + MOST_TRANSMIT_PAGES;
    const access = vi.open(rings, maxFilters, maxBufferPages, credit);
    this.at = 'buffers';
    const can = vi.nic.capabilities;
    return encodeHandover({
      ...access,
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
    this.expect('buffers');
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
    this.expect('buffers');
    this.at = 'started';
    this.plan.start();
    return true;
  }

  private async quiesce(): Promise<boolean> {
    this.expect('started');
    this.at = 'over';
    await this.plan.quiesce();
    return true;
  }

  /** A half that asks in the wrong order has lost its way, or has none: it is not served any more. */
  private expect(step: ViStep): void {
    if (this.at === step) return;
    const reason = `the guest's half asked for step "${step}" of the set-up at step "${this.at}"`;
    if (this.at !== 'over') this.services.failed(reason);
    throw new Error(reason);
  }
}
