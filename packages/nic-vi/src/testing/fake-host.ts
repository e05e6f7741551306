/**
 * A driver domain for one vif without a machine: services over one memory, a NIC model whose wire ends at a second NIC,
 * and the guest's end of the mailbox, for tests to say what they like.
 */
import { Frame, FreeFrames, PAGE_BYTES } from '@netaccel/core-hooks';
import type {
  BackendAccelerator,
  BackendServices,
  CreditHandler,
  EventEnd,
  MappedPages,
  NicPortHold,
  ReceiveFence,
  SharedPages,
  VifIdentity,
  VifLimits,
} from '@netaccel/core-hooks';
import { mailboxPair } from '@netaccel/core-hooks/testing';
import type { FakeMailbox } from '@netaccel/core-hooks/testing';
import { decodeBuffersReply, decodeHandover, encodeBuffers, encodeRings } from '../messages.js';
import type { HandoverMessage } from '../messages.js';
import { CONTROL_VERSIONS, ControlMessage, encodeHello } from '../protocol.js';
import { FarEnd } from './far-end.js';
import { macOf } from './frames.js';
import { Holdings, TwoNics } from './two-nics.js';

const nothing = (): void => undefined;

/** What the vif is like. */
export interface HostOptions {
  /** Quotas that are not the usual ones. */
  readonly limits?: Partial<VifLimits>;
  /** Its rate limit. */
  readonly rateBytesPerSecond?: number;
  /** Its MAC address; station 0x0a when left out. */
  readonly mac?: Uint8Array;
  /** The only IP addresses of its guest. */
  readonly addresses?: readonly Uint8Array[];
}

/** What is held, by kind; all zero after a clean end. */
export interface HostLedger {
  /** Pages shared, and the subscription to credit. */
  readonly shares: number;
  /** Foreign pages mapped. */
  readonly maps: number;
  /** Event channels. */
  readonly ports: number;
  /** Handlers at the NIC port. */
  readonly subscriptions: number;
  /** Timers not yet run. */
  readonly timers: number;
  /** VIs of the NIC. */
  readonly vis: number;
}

/** See the top of the file. */
export class FakeHost extends TwoNics {
  /** The guest's end. */
  readonly guest: FakeMailbox;
  /** The plugin's. */
  readonly driver: FakeMailbox;
  /** What the half under test is handed. */
  readonly services: BackendServices;
  /** What `failed` was told. */
  readonly failures: string[] = [];
  /** What was logged. */
  readonly lines: string[] = [];
  /** Calls that order depends on, as they came. */
  readonly calls: string[] = [];
  /** What `fence` waits for. */
  fence: () => Promise<ReceiveFence> = () => Promise.resolve([7]);
  /** What `port.received` waits for. */
  received: () => Promise<void> = () => Promise.resolve();
  /** The vif's rate limit. */
  rate: number;
  /** Who takes the fast path's share of it. */
  credit: CreditHandler | null = null;
  /** Pages that the guest grants, by reference. */
  readonly grants = new Map<number, 'read' | 'write'>();
  /** Who looks at frames from the wire. */
  readonly receivers = new Set<(frame: Frame) => void>();
  /** Who looks at frames for the wire. */
  readonly transmitters = new Set<(frame: Frame) => void>();
  /** Who is told of the link. */
  readonly links = new Set<(up: boolean) => void>();
  /** Who is told of resets. */
  readonly resets = new Set<() => void>();
  /** Handlers of the open event channels, by port. */
  readonly doorbells = new Map<number, () => void>();
  private readonly held = new Holdings(['shares', 'maps', 'ports'] as const);
  private nextPort = 1;
  private readonly frame: Frame;
  private far: FarEnd | null = null;

  /** @param options what the vif is like. */
  constructor(private readonly options: HostOptions = {}) {
    super(nothing);
    this.rate = options.rateBytesPerSecond ?? 0;
    [this.guest, this.driver] = mailboxPair();
    this.frame = new Frame(new FreeFrames(), 0, this.memory.allocate(2), 2 * PAGE_BYTES);
    this.frame.hold();
    this.services = this.makeServices(this.driver);
  }

  /** Pages of the guest. */
  grant(pages: number, access: 'read' | 'write' = 'write'): Uint32Array {
    const refs = this.refsOf(this.memory.allocate(pages), pages);
    for (const ref of refs) this.grants.set(ref, access);
    return refs;
  }

  /** A frame comes from the wire on the slow path. */
  arrive(bytes: Uint8Array): void {
    this.put(bytes);
    for (const look of this.receivers) look(this.frame);
  }

  /** A frame leaves for the wire on the slow path. */
  leave(bytes: Uint8Array): void {
    this.put(bytes);
    for (const look of this.transmitters) look(this.frame);
  }

  /** Sends a frame over the wire to the NIC, where its filter takes it, if it has one. */
  send(bytes: Uint8Array): void {
    this.far ??= new FarEnd(this);
    this.far.send(bytes);
  }

  /** Moves the time on, and lets what is due happen. */
  async advance(ms: number, stepMs = ms): Promise<void> {
    for (let t = 0; t < ms; t += stepMs) {
      this.clock.advance(stepMs);
      await this.settle();
    }
  }

  /** Removes the plugin while the clock goes on, as it does on a host. */
  async remove(backend: BackendAccelerator): Promise<void> {
    const state = { over: false };
    const done = backend.remove().then(() => (state.over = true));
    for (let i = 0; i < 100 && !state.over; i++) await this.advance(5);
    await done;
  }

  /** The guest says hello. */
  hello(bufferPages = 8): ReturnType<FakeMailbox['request']> {
    return this.guest.request(
      ControlMessage.hello,
      encodeHello({ ...CONTROL_VERSIONS, features: 1, bufferPages }),
    );
  }

  /** The guest hands its rings over. */
  rings(): ReturnType<FakeMailbox['request']> {
    return this.guest.request(
      ControlMessage.rings,
      encodeRings({
        transmitRefs: this.grant(1),
        receiveRefs: this.grant(1),
        eventRefs: this.grant(2),
        transmitCapacity: 64,
        receiveCapacity: 64,
        eventCapacity: 256,
      }),
    );
  }

  /** The guest registers buffers. */
  buffers(pages = 8, writable = true): ReturnType<FakeMailbox['request']> {
    const refs = this.grant(pages, writable ? 'write' : 'read');
    return this.guest.request(ControlMessage.buffers, encodeBuffers({ cookie: 5, writable, refs }));
  }

  /** All of the set-up: a guest that takes every filter, with receive buffers posted. */
  async setUp(): Promise<HandoverMessage> {
    this.guest.handle(ControlMessage.filter, () => ({ ok: true, payload: new Uint8Array(0) }));
    for (const type of [ControlMessage.link, ControlMessage.localAddress, ControlMessage.remoteAddress])
      this.guest.handle(type, () => ({ ok: true, payload: new Uint8Array(0) }));
    await this.hello();
    const handover = decodeHandover((await this.rings()).payload);
    const { bus } = decodeBuffersReply((await this.buffers()).payload);
    const [receiveRing] = [...this.grants.keys()].slice(1, 2);
    const registers = handover.registerRef * PAGE_BYTES;
    const { words } = this.memory;
    for (let i = 0; i < 16; i++) {
      words[(receiveRing! * PAGE_BYTES + i * 8) >>> 2] = bus + i * 2048;
      words[(receiveRing! * PAGE_BYTES + i * 8 + 4) >>> 2] = 2048;
    }
    words[(registers + 4) >>> 2] = 16;
    await this.guest.request(ControlMessage.start, new Uint8Array(0));
    await this.settle();
    return handover;
  }

  /** What the guest was sent of a type. */
  told(type: number): Uint8Array[] {
    return this.driver.sent.filter((each) => each.type === type).map(({ payload }) => payload);
  }

  /** What is held. */
  ledger(): HostLedger {
    const subscriptions = this.receivers.size + this.transmitters.size + this.links.size + this.resets.size;
    return { ...this.held.now, subscriptions, timers: this.clock.pending, vis: this.nic.describe().liveVis };
  }

  private put(bytes: Uint8Array): void {
    this.memory.bytes.set(bytes, this.frame.home);
    this.frame.describe(this.frame.home, bytes.length);
  }

  /** Notes a call, and makes it fail when a test said so. */
  override fail(what: string): void {
    this.calls.push(what);
    super.fail(what);
  }

  private makeServices(mailbox: FakeMailbox): BackendServices {
    const { options, memory, clock, held, calls } = this;
    const vif: VifIdentity = {
      handle: 0,
      guest: 3,
      backend: 0,
      mac: options.mac ?? macOf(0xa),
      mtu: 1500,
      ...(options.addresses !== undefined && { addresses: options.addresses }),
    };
    const subscribe = <T>(what: string, to: Set<T>, handler: T): (() => void) => {
      this.fail(what);
      to.add(handler);
      return () => to.delete(handler);
    };
    const port: NicPortHold = {
      name: 'eth0',
      device: this.control,
      onReceive: (handler) => subscribe('onReceive', this.receivers, handler),
      onTransmit: (handler) => subscribe('onTransmit', this.transmitters, handler),
      onReset: (handler) => subscribe('onReset', this.resets, handler),
      onLink: (handler) => {
        const end = subscribe('onLink', this.links, handler);
        handler(this.control.linkUp);
        return end;
      },
      received: () => {
        calls.push('received');
        return this.received();
      },
    };
    const open = (handler: () => void): EventEnd => {
      this.fail('events.open');
      const number = this.nextPort++;
      this.doorbells.set(number, handler);
      const close = held.take('ports', () => this.doorbells.delete(number));
      return { port: number, notify: nothing, unmask: nothing, close };
    };
    const services: BackendServices = {
      contract: 1,
      memory,
      vif,
      limits: { maxFilters: 8, maxBufferPages: 384, maxMulticasts: 8, ...options.limits },
      port,
      mailbox,
      clock,
      rateBytesPerSecond: this.rate,
      onCredit: (handler) => {
        this.fail('onCredit');
        this.credit = handler;
        handler(this.rate === 0 ? Infinity : 0, this.rate === 0 ? Infinity : 100_000);
        return held.take('shares', () => (this.credit = null));
      },
      events: {
        open,
        bind: () => {
          throw new Error('the guest opens nothing here');
        },
        vector: ({ port: number }) => number,
      },
      store: {
        read: () => Promise.resolve(null),
        write: () => Promise.resolve(),
        readPeer: () => Promise.resolve(null),
        watchPeer: () => Promise.resolve(() => Promise.resolve()),
      },
      share: (pages): SharedPages => {
        this.fail('share');
        const address = memory.allocate(pages);
        const release = held.take('shares');
        return {
          address,
          pages,
          refs: this.refsOf(address, pages),
          release: () => {
            release();
            calls.push('share.release');
            return true;
          },
        };
      },
      map: (refs, access): MappedPages => {
        this.fail('map');
        for (const ref of refs) {
          const granted = this.grants.get(ref);
          if (granted === undefined || (access === 'write' && granted === 'read'))
            throw new Error(`reference ${ref} is not granted for ${access}`);
        }
        const unmap = held.take('maps', () => calls.push('unmap'));
        return { addresses: refs.map((ref) => ref * PAGE_BYTES), unmap };
      },
      fence: () => {
        calls.push('fence');
        return this.fence();
      },
      log: (level, message) => this.lines.push(`${level}: ${message}`),
      failed: (reason) => this.failures.push(reason),
    };
    return Object.defineProperty(services, 'rateBytesPerSecond', { get: () => this.rate });
  }
}
