/**
 * One guest's device, seen from the driver domain: what the guest's half may ask for, in which order, and the end of
 * it all.
 *
 * Nothing is made before the guest asks, and whatever it sends is bounded before use. `remove` needs nothing from
 * the guest: looking stops first, the filter goes before the VI, the VI before the pages that it used.
 */
import type {
  BackendAccelerator,
  BackendServices,
  EventEnd,
  MappedPages,
  SharedPages,
} from '@netaccel/core-hooks';
import {
  Answers,
  ControlMessage,
  Refusal,
  CONTROL_VERSIONS,
  commonVersion,
  decodeBuffers,
  decodeHello,
  decodeNothing,
  decodeRings,
  encodeBuffersReply,
  encodeHandover,
  encodeHello,
} from '@netaccel/nic-vi';
import type { BuffersMessage, Hello, NicControl, RingsMessage, ViId } from '@netaccel/nic-vi';
import { OwnMessage, encodeFence } from '../messages.js';
import { Neighbours } from './neighbours.js';
import { Steering } from './steering.js';

/** First protection domain of guests: below it are the driver domain's own. */
const FIRST_OWNER = 16;
/** Pages of the guest's transmit memory that the card may know, besides the quota of receive buffers: 8 MiB. */
const MOST_TRANSMIT_PAGES = 2048;
/** Ethernet header and VLAN tag. */
const HEADER_BYTES = 18;
/** Times that a VI is asked to finish before it is ended as it is. */
const FLUSH_TRIES = 20;
const FLUSH_PAUSE_MS = 5;

/** How far the guest's half has come. A message at the wrong step is a mistake, and refused. */
type Step = 'hello' | 'rings' | 'buffers' | 'started' | 'over';

/** A guest's VI and what belongs to it. */
export class Vif implements BackendAccelerator {
  private readonly answers: Answers;
  private readonly neighbours: Neighbours;
  private readonly steering: Steering;
  private readonly maps: MappedPages[] = [];
  private readonly ends: EventEnd[] = [];
  private readonly stops: (() => void)[] = [];
  private registers: SharedPages | null = null;
  private vi: ViId | null = null;
  /** The generation of the card that the VI belongs to: after a reset its number may be somebody else's. */
  private generation = 0;
  private step: Step = 'hello';
  /** The filter that is being opened. */
  private opening: Promise<void> = Promise.resolve();
  private granted = 0;
  private receivePages = 0;
  private transmitPages = 0;

  /** Answers the guest's half from here on, which spends at most so many pages on receive buffers. */
  constructor(
    private readonly services: BackendServices,
    private readonly nic: NicControl,
    private readonly mostReceivePages: number,
  ) {
    const { mailbox, port } = services;
    this.neighbours = new Neighbours(services);
    this.steering = new Steering(services, nic);
    this.stops.push(port.onReset(() => services.failed('the card was reset: its VIs and filters are gone')));
    this.answers = new Answers(mailbox, (reason) => services.failed(reason));
    this.answers.to(ControlMessage.hello, decodeHello, (hello) => this.welcome(hello));
    this.answers.to(ControlMessage.rings, decodeRings, (rings) => this.makeVi(rings));
    this.answers.to(ControlMessage.buffers, decodeBuffers, (buffers) => this.register(buffers));
    this.answers.to(ControlMessage.start, decodeNothing, () => this.start());
    this.answers.to(ControlMessage.quiesce, decodeNothing, () => this.quiesce());
  }

  /** {@inheritDoc @netaccel/core-hooks!BackendAccelerator.remove} */
  async remove(): Promise<void> {
    this.step = 'over';
    this.answers.close();
    this.stopLooking();
    for (let tries = 0; tries < FLUSH_TRIES; tries++) {
      if (this.current === null || this.nic.flushVi(this.current)) break;
      await new Promise<void>((resolve) => void this.services.clock.after(FLUSH_PAUSE_MS, resolve));
    }
    // The card forgets rings and buffers with the VI, and reads and writes none of them from here on.
    if (this.current !== null) this.nic.freeVi(this.current);
    this.vi = null;
    this.giveBack();
  }

  /** {@inheritDoc @netaccel/core-hooks!BackendAccelerator.describe} */
  describe(): Readonly<Record<string, unknown>> {
    const { current } = this;
    return {
      step: this.step,
      vi: current === null ? null : { number: current, ...this.nic.viStatistics(current) },
      pages: { granted: this.granted, receive: this.receivePages, transmit: this.transmitPages },
      steering: this.steering.describe(),
      peer: { mistakes: this.answers.mistakes, last: this.answers.lastMistake },
    };
  }

  /** The VI's number while the card knows it. */
  private get current(): ViId | null {
    return this.nic.generation === this.generation ? this.vi : null;
  }

  private welcome(hello: Hello): Uint8Array {
    this.expect('hello');
    let version: number;
    try {
      version = commonVersion(hello);
    } catch (error) {
      // The guest is told which versions there are here.
      const ours = encodeHello({ ...CONTROL_VERSIONS, features: 0, bufferPages: 0 });
      throw new Refusal((error as Error).message, ours);
    }
    this.granted = Math.min(hello.bufferPages, this.services.limits.maxBufferPages, this.mostReceivePages);
    this.step = 'rings';
    return encodeHello({ oldest: version, newest: version, features: 0, bufferPages: this.granted });
  }

  private makeVi(rings: RingsMessage): Uint8Array {
    this.expect('rings');
    const { services, nic } = this;
    const can = nic.capabilities;
    const maxBufferPages = this.granted + MOST_TRANSMIT_PAGES;
    try {
      const transmitPages = this.map(rings.transmitRefs);
      const receivePages = this.map(rings.receiveRefs);
      const eventPages = this.map(rings.eventRefs);
      const registers = (this.registers = services.share(1, 'write'));
      const interrupt = services.events.open(() => interrupt.unmask());
      this.ends.push(interrupt);
      const doorbell = services.events.open(() => {
        doorbell.unmask();
        if (this.current !== null) nic.serviceVi(this.current);
      });
      this.ends.push(doorbell);
      this.generation = nic.generation;
      this.vi = nic.allocateVi({
        owner: FIRST_OWNER + services.vif.guest,
        transmitPages,
        transmitCapacity: rings.transmitCapacity,
        receivePages,
        receiveCapacity: rings.receiveCapacity,
        eventPages,
        eventCapacity: rings.eventCapacity,
        registerPage: registers.address,
        vector: services.events.vector(interrupt),
        antiSpoof: services.vif, // the card checks MAC and IP addresses, so that no guest speaks for another
        filterQuota: services.limits.maxFilters,
        bufferQuota: maxBufferPages,
      });
      this.step = 'buffers';
      return encodeHandover({
        registerRef: registers.refs[0]!,
        doorbellPort: doorbell.port,
        interruptPort: interrupt.port,
        vi: this.vi,
        generation: this.generation,
        startIndex: 0,
        mtu: Math.min(services.vif.mtu, can.maxFrameBytes - HEADER_BYTES),
        maxFragments: can.maxFragments,
        maxTransmitBytes: can.maxTransmitBytes,
        maxBufferPages,
        maxFilters: services.limits.maxFilters,
        receiveChecksum: can.receiveChecksum === 1,
        transmitChecksum: can.transmitChecksum === 1,
        segmentation: can.segmentation === 1,
        mac: services.vif.mac,
        ...(services.vif.addresses !== undefined && { addresses: services.vif.addresses }),
      });
    } catch (error) {
      this.giveBack();
      throw error;
    }
  }

  private register({ cookie, writable, refs }: BuffersMessage): Uint8Array {
    this.expect('buffers');
    const used = writable ? this.receivePages : this.transmitPages;
    const most = writable ? this.granted : MOST_TRANSMIT_PAGES;
    if (used + refs.length > most)
      throw new Error(`buffers: at most ${most} pages expected, ${used} and ${refs.length} more seen`);
    if (this.current === null) throw new Error('the VI is gone: the card was reset');
    const mapped = this.services.map(refs, writable ? 'write' : 'read');
    try {
      const bus = this.nic.registerBuffers(this.current, mapped.addresses);
      this.maps.push(mapped);
      if (writable) this.receivePages += refs.length;
      else this.transmitPages += refs.length;
      return encodeBuffersReply({ cookie, count: refs.length, bus });
    } catch (error) {
      mapped.unmap();
      throw error;
    }
  }

  /** Frames may be led to the VI from now on. */
  private start(): boolean {
    this.expect('buffers');
    this.step = 'started';
    this.neighbours.start();
    this.opening = this.open();
    return true;
  }

  /** Leads frames there, and tells the guest what they come after. */
  private async open(): Promise<void> {
    try {
      if (this.current === null) throw new Error('the VI is gone: the card was reset');
      const fence = await this.steering.start(this.current);
      if (this.step !== 'started') return;
      const { ok } = await this.services.mailbox.request(OwnMessage.open, encodeFence(fence));
      if (!ok) throw new Error('it refused the fence');
    } catch (error) {
      if (this.step === 'started') this.services.failed(`the guest's half was not opened: ${String(error)}`);
    }
  }

  private async quiesce(): Promise<boolean> {
    this.expect('started');
    await this.opening; // whoever waits for the fence gets it, and delivers in order
    this.step = 'over';
    this.stopLooking();
    return true;
  }

  private stopLooking(): void {
    this.neighbours.stop();
    this.steering.stop(this.current !== null);
    for (const stop of this.stops.splice(0)) stop();
  }

  private map(refs: Uint32Array): Uint32Array {
    const mapped = this.services.map(refs, 'write');
    this.maps.push(mapped);
    return mapped.addresses;
  }

  private giveBack(): void {
    for (const mapped of this.maps.splice(0)) mapped.unmap();
    this.registers?.release(); // the guest may still have it mapped: the host keeps it then
    this.registers = null;
    for (const end of this.ends.splice(0)) end.close();
  }

  private expect(step: Step): void {
    if (this.step !== step)
      throw new Error(`step ${step} of the set-up expected, it is at step ${this.step}`);
  }
}
