// A driver domain for one vif without a machine: services over one memory, a NIC model whose wire ends at a second NIC,
// and the guest's end of the mailbox, for tests to say what they like. A grant's reference is its page's number.
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
import { FlatMemory, VirtualClock, mailboxPair } from '@netaccel/core-hooks/testing';
import type { FakeMailbox } from '@netaccel/core-hooks/testing';
import {
  CONTROL_VERSIONS,
  ControlMessage,
  EventBatch,
  VirtualInterface,
  decodeBuffersReply,
  decodeHandover,
  encodeBuffers,
  encodeHello,
  encodeRings,
} from '@netaccel/nic-vi';
import type { HandoverMessage, NicControl } from '@netaccel/nic-vi';
import { Nic, Wire, nicStateBytes, wireStateBytes } from '@netaccel/nic-vi/model';
import { macOf } from './frames.js';

const NIC = { vis: 8, bufferPages: 4096, filters: 64 };
const PAGES = 4096;

export interface HostOptions {
  readonly limits?: Partial<VifLimits>;
  readonly rateBytesPerSecond?: number;
  readonly mac?: Uint8Array;
  readonly addresses?: readonly Uint8Array[];
}

/** What is held, by kind; all zero after a clean end. */
export interface Ledger {
  shares: number;
  maps: number;
  ports: number;
  subscriptions: number;
  timers: number;
  vis: number;
}

export class FakeHost {
  readonly memory = new FlatMemory(PAGES);
  readonly clock = new VirtualClock();
  readonly nic: Nic;
  readonly control: NicControl;
  readonly wire: Wire;
  /** The guest's end. */
  readonly guest: FakeMailbox;
  /** The plugin's. */
  readonly driver: FakeMailbox;
  readonly services: BackendServices;
  /** What `failed` and `log` were told. */
  readonly failures: string[] = [];
  readonly lines: string[] = [];
  /** Calls that order depends on, as they came. */
  readonly calls: string[] = [];
  /** What `fence` and `port.received` wait for. */
  fence: () => Promise<ReceiveFence> = () => Promise.resolve([7]);
  received: () => Promise<void> = () => Promise.resolve();
  /** The vif's rate limit, and who takes the fast path's share of it. */
  rate: number;
  credit: CreditHandler | null = null;
  /** Makes the next service of that name throw. */
  failing: string | null = null;
  readonly grants = new Map<number, 'read' | 'write'>();
  readonly receivers = new Set<(frame: Frame) => void>();
  readonly transmitters = new Set<(frame: Frame) => void>();
  readonly links = new Set<(up: boolean) => void>();
  readonly resets = new Set<() => void>();
  readonly doorbells = new Map<number, () => void>();
  private readonly peer: Nic;
  private readonly held = { shares: 0, maps: 0, ports: 0 };
  private nextPort = 1;
  private readonly frame: Frame;
  private sender: Sender | null = null;

  constructor(private readonly options: HostOptions = {}) {
    const { memory, clock } = this;
    this.rate = options.rateBytesPerSecond ?? 0;
    const interrupt = (): void => undefined;
    const make = (): Nic =>
      Nic.create(
        memory,
        this.take(nicStateBytes(NIC)),
        { concurrent: false, interrupt, clock: () => clock.now() * 1000 },
        NIC,
      );
    this.nic = make();
    this.peer = make();
    this.control = this.nic.control(0);
    const ends = [this.nic, this.peer].map((nic) => ({ nic, port: 0 })) as [
      { nic: Nic; port: 0 },
      { nic: Nic; port: 0 },
    ];
    this.wire = Wire.create(memory, this.take(wireStateBytes({})), ...ends, {});
    [this.guest, this.driver] = mailboxPair();
    this.frame = new Frame(new FreeFrames(), 0, memory.allocate(2), 2 * PAGE_BYTES);
    this.frame.hold();
    this.services = this.makeServices(this.driver);
  }

  /** Pages of the guest. */
  grant(pages: number, access: 'read' | 'write' = 'write'): Uint32Array {
    const first = this.memory.allocate(pages) / PAGE_BYTES;
    const refs = Uint32Array.from({ length: pages }, (_, i) => first + i);
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
    this.sender ??= new Sender(this.memory, this.peer);
    this.sender.send(bytes);
  }

  /** Lets everything that was promised happen. */
  async settle(): Promise<void> {
    for (let i = 0; i < 1000; i++) await Promise.resolve();
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

  ledger(): Ledger {
    const subscriptions = this.receivers.size + this.transmitters.size + this.links.size + this.resets.size;
    return { ...this.held, subscriptions, timers: this.clock.pending, vis: this.nic.describe().liveVis };
  }

  private put(bytes: Uint8Array): void {
    this.memory.bytes.set(bytes, this.frame.home);
    this.frame.describe(this.frame.home, bytes.length);
  }

  private take(bytes: number): number {
    return this.memory.allocate(Math.ceil(bytes / PAGE_BYTES));
  }

  private fail(what: string): void {
    this.calls.push(what);
    if (this.failing !== what) return;
    this.failing = null;
    throw new Error(`${what} fails, as the test said`);
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
    const once = (what: keyof typeof held, end: () => void = () => undefined): (() => void) => {
      held[what]++;
      let open = true;
      return () => {
        if (open) {
          held[what]--;
          end();
        }
        open = false;
      };
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
      const close = once('ports', () => this.doorbells.delete(number));
      return { port: number, notify: () => undefined, unmask: () => undefined, close };
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
        return once('shares', () => (this.credit = null));
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
        const release = once('shares');
        return {
          address,
          pages,
          refs: Uint32Array.from({ length: pages }, (_, i) => address / PAGE_BYTES + i),
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
        const unmap = once('maps', () => calls.push('unmap'));
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

/** A VI on the NIC at the other end of the wire. */
class Sender {
  private readonly batch = new EventBatch(16);
  private readonly ids = new Int32Array(64);
  private readonly vi: VirtualInterface;
  private readonly bus: number;
  private readonly buffer: number;

  constructor(
    private readonly memory: FlatMemory,
    nic: Nic,
  ) {
    const control = nic.control(0);
    const [transmitRing, receiveRing, eventQueue, page, buffer] = Array.from({ length: 5 }, () =>
      memory.allocate(1),
    );
    const id = control.allocateVi({
      owner: 9,
      transmitPages: [transmitRing!],
      transmitCapacity: 64,
      receivePages: [receiveRing!],
      receiveCapacity: 64,
      eventPages: [eventQueue!],
      eventCapacity: 256,
      registerPage: page!,
      vector: 0,
    });
    this.buffer = buffer!;
    this.bus = control.registerBuffers(id, [buffer!]);
    const registers = {
      write32: (offset: number, value: number): void => {
        memory.words[(page! + offset) >>> 2] = value;
        nic.registerWritten(page! + offset);
      },
      read32: (offset: number): number => memory.words[(page! + offset) >>> 2]!,
      unmap: (): void => undefined,
    };
    this.vi = new VirtualInterface(memory, registers, {
      transmitRing: transmitRing!,
      transmitCapacity: 64,
      receiveRing: receiveRing!,
      receiveCapacity: 64,
      eventQueue: eventQueue!,
      eventCapacity: 256,
    });
  }

  send(bytes: Uint8Array): void {
    this.memory.bytes.set(bytes, this.buffer);
    this.vi.transmitInit(this.bus, bytes.length, 0);
    this.vi.transmitPush();
    const n = this.vi.poll(this.batch);
    for (let i = 0; i < n; i++) this.vi.transmitUnbundle(this.batch.detail[i]!, this.ids);
  }
}
