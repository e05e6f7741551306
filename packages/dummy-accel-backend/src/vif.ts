/**
 * One vif: the VI that its guest gets, and what the guest asks for over the mailbox.
 *
 * Nothing is made before the frontend half asks; everything the guest sends is bounded before use. `remove` needs
 * nothing from the guest: filters go first, then the VI, then the pages that it used (reference 2.6).
 */
import type { BackendAccelerator, BackendServices, EventEnd, MappedPages, SharedPages } from '@netaccel/core-hooks';
import {
  ControlFeature,
  ControlMessage,
  commonVersion,
  decodeBuffers,
  decodeHello,
  decodeRings,
  decodeStray,
  encodeBuffersReply,
  encodeHandover,
  encodeHello,
  encodeLink,
  isNicControl,
} from '@netaccel/nic-vi';
import type { NicControl, ViId } from '@netaccel/nic-vi';
import { Steering } from './steering.js';

/** Protection domains: one for each vif, away from the driver domain's own. */
const FIRST_OWNER = 16;
const OWNERS = 65535 - FIRST_OWNER;
/** Times that a VI is asked to finish before it is ended as it is. */
const FLUSH_TRIES = 20;
const FLUSH_PAUSE_MS = 5;
const nothing = new Uint8Array();

/** A vif's accelerator. */
export class VifAccelerator implements BackendAccelerator {
  private readonly control: NicControl;
  private readonly undo: (() => void)[] = [];
  private vi: ViId | null = null;
  private rings: MappedPages | null = null;
  private readonly buffers: MappedPages[] = [];
  private registers: SharedPages | null = null;
  private doorbell: EventEnd | null = null;
  private interrupt: EventEnd | null = null;
  private steering: Steering | null = null;
  private bufferPages = 0;
  private granted = 0;

  constructor(private readonly services: BackendServices) {
    const { device } = services.port;
    if (!isNicControl(device)) throw new Error(`NIC port ${services.port.name} is of another kind; this plugin drives nic-vi`);
    this.control = device;
    const handle = (type: number, answer: (payload: Uint8Array) => Uint8Array | Promise<Uint8Array>): void => {
      services.mailbox.handle(type, async (payload) => ({ ok: true, payload: await answer(payload) }));
    };
    handle(ControlMessage.hello, (payload) => this.hello(payload));
    handle(ControlMessage.rings, (payload) => this.makeVi(payload));
    handle(ControlMessage.buffers, (payload) => this.addBuffers(payload));
    handle(ControlMessage.start, () => this.start());
    handle(ControlMessage.quiesce, () => this.quiesce());
    handle(ControlMessage.stray, (payload) => {
      this.steering?.stray(decodeStray(payload));
      return nothing;
    });
    this.undo.push(
      services.port.onReset(() => {
        services.failed('the NIC was reset; its VIs and filters are gone');
      }),
    );
  }

  /** {@inheritDoc @netaccel/core-hooks!BackendAccelerator.remove} */
  async remove(): Promise<void> {
    this.steering?.stop();
    this.steering = null;
    for (const undo of this.undo.splice(0)) undo();
    if (this.vi !== null) await this.endVi(this.vi);
    this.vi = null;
    for (const mapped of this.buffers.splice(0)) mapped.unmap();
    this.rings?.unmap();
    this.interrupt?.close();
    this.doorbell?.close();
    this.registers?.release();
    this.rings = this.interrupt = this.doorbell = this.registers = null;
  }

  /** {@inheritDoc @netaccel/core-hooks!BackendAccelerator.describe} */
  describe(): Readonly<Record<string, unknown>> {
    return {
      port: this.services.port.name,
      limits: this.services.limits,
      vi: this.vi === null ? null : { id: this.vi, ...this.control.viStatistics(this.vi) },
      bufferPages: this.bufferPages,
      filters: this.steering?.describe() ?? null,
    };
  }

  private hello(payload: Uint8Array): Uint8Array {
    const hello = decodeHello(payload);
    const version = commonVersion(hello);
    this.granted = Math.min(hello.bufferPages, this.services.limits.maxBufferPages);
    return encodeHello({
      oldest: version,
      newest: version,
      features: hello.features & ControlFeature.remoteAddresses,
      bufferPages: this.granted,
    });
  }

  private makeVi(payload: Uint8Array): Uint8Array {
    if (this.vi !== null) throw new Error('rings: one VI for each device, and it has one');
    const { services, control } = this;
    const request = decodeRings(payload);
    const { transmitRefs, receiveRefs, eventRefs } = request;
    const rings = (this.rings = services.map(Uint32Array.of(...transmitRefs, ...receiveRefs, ...eventRefs), 'write'));
    const registers = (this.registers = services.share(1, 'write'));
    const doorbell = (this.doorbell = services.events.open(() => {
      if (this.vi !== null) control.serviceVi(this.vi);
      doorbell.unmask();
    }));
    const interrupt = (this.interrupt = services.events.open(() => {
      interrupt.unmask();
    }));
    const pages = rings.addresses;
    const receiveAt = transmitRefs.length;
    const eventsAt = receiveAt + receiveRefs.length;
    this.vi = control.allocateVi({
      owner: FIRST_OWNER + ((services.vif.guest * 16 + services.vif.handle) % OWNERS),
      transmitPages: pages.slice(0, receiveAt),
      transmitCapacity: request.transmitCapacity,
      receivePages: pages.slice(receiveAt, eventsAt),
      receiveCapacity: request.receiveCapacity,
      eventPages: pages.slice(eventsAt),
      eventCapacity: request.eventCapacity,
      registerPage: registers.address,
      vector: services.events.vector(interrupt),
      antiSpoof: { mac: services.vif.mac },
      filterQuota: services.limits.maxFilters,
      bufferQuota: services.limits.maxBufferPages,
    });
    const { capabilities } = control;
    return encodeHandover({
      vi: this.vi,
      generation: control.generation,
      startIndex: 0,
      registerRef: registers.refs[0]!,
      doorbellPort: doorbell.port,
      interruptPort: interrupt.port,
      mtu: services.vif.mtu,
      maxFragments: capabilities.maxFragments,
      maxTransmitBytes: capabilities.maxTransmitBytes,
      maxBufferPages: this.granted,
      maxFilters: services.limits.maxFilters,
      receiveChecksum: capabilities.receiveChecksum === 1,
      transmitChecksum: capabilities.transmitChecksum === 1,
      segmentation: capabilities.segmentation === 1,
      mac: services.vif.mac,
    });
  }

  private addBuffers(payload: Uint8Array): Uint8Array {
    const { cookie, refs, writable } = decodeBuffers(payload);
    if (this.vi === null) throw new Error('buffers: the VI comes first');
    if (this.bufferPages + refs.length > this.granted)
      throw new Error(`buffers: ${this.granted} pages were granted; ${this.bufferPages} are used and ${refs.length} asked for`);
    const mapped = this.services.map(refs, writable ? 'write' : 'read');
    try {
      const bus = this.control.registerBuffers(this.vi, mapped.addresses);
      this.buffers.push(mapped);
      this.bufferPages += refs.length;
      return encodeBuffersReply({ cookie, count: refs.length, bus });
    } catch (error) {
      mapped.unmap(); // an error undoes this chunk alone
      throw error;
    }
  }

  private start(): Uint8Array {
    if (this.vi === null) throw new Error('start: the VI comes first');
    this.steering ??= new Steering(this.services, this.control, this.vi);
    this.undo.push(
      this.services.port.onLink((up) => {
        this.services.mailbox.request(ControlMessage.link, encodeLink(up)).catch((error: unknown) => {
          this.services.log('warn', `the guest was not told of the link: ${String(error)}`);
        });
      }),
    );
    return nothing;
  }

  private async quiesce(): Promise<Uint8Array> {
    await this.steering?.quiesce();
    return nothing;
  }

  /** Lets the VI finish what it has for a bounded time, then ends it. */
  private async endVi(vi: ViId): Promise<void> {
    const { clock } = this.services;
    for (let i = 0; i < FLUSH_TRIES && !this.control.flushVi(vi); i++)
      await new Promise<void>((resolve) => void clock.after(FLUSH_PAUSE_MS, resolve));
    this.control.freeVi(vi);
  }
}

