// A guest for one vif without a machine: services over one memory, a NIC model whose wire ends at a second NIC, and a
// backend half that does its part by the book unless a test says otherwise. A grant's reference is its page's number.
import { FramePool, PAGE_BYTES, holdChain, releaseChain } from '@netaccel/core-hooks';
import type {
  EventEnd,
  Frame,
  FrontendAccelerator,
  FrontendServices,
  ReceiveFence,
  Registers,
  SharedPages,
} from '@netaccel/core-hooks';
import { FlatMemory, VirtualClock, mailboxPair } from '@netaccel/core-hooks/testing';
import type { FakeMailbox } from '@netaccel/core-hooks/testing';
import {
  ControlMessage,
  EventBatch,
  EventType,
  VirtualInterface,
  decodeBuffers,
  decodeHello,
  decodeRings,
  encodeAddress,
  encodeBuffersReply,
  encodeFilter,
  encodeHandover,
  encodeHello,
  encodeLink,
} from '@netaccel/nic-vi';
import type { HandoverMessage, Hello, NicControl } from '@netaccel/nic-vi';
import { Nic, Wire, nicStateBytes, wireStateBytes } from '@netaccel/nic-vi/model';
import { macOf } from './frames.js';

const NIC = { vis: 8, bufferPages: 2048, filters: 64 };
const PAGES = 4096;
const nothing = new Uint8Array(0);
const DOORBELL = 900;
const INTERRUPT = 901;

/** Changes to what the backend half answers. */
export interface Script {
  hello?: Partial<Hello>;
  handover?: Partial<HandoverMessage>;
  buffers?: { bus?: number; count?: number; cookie?: number };
  /** Messages that are refused, and messages that are answered with these bytes. */
  refuse?: readonly number[];
  bytes?: Readonly<Record<number, Uint8Array>>;
  /** Receive buffers granted. */
  pages?: number;
  startIndex?: number;
}

/** A frame that the stack got. */
export interface Delivered {
  readonly bytes: Uint8Array;
  readonly checksum: number;
  readonly segmentBytes: number;
}

export class FakeGuest {
  readonly memory = new FlatMemory(PAGES);
  readonly clock = new VirtualClock();
  readonly nic: Nic;
  readonly peerNic: Nic;
  readonly control: NicControl;
  readonly wire: Wire;
  /** The other half's end. */
  readonly backend: FakeMailbox;
  /** The plugin's. */
  readonly mailbox: FakeMailbox;
  readonly services: FrontendServices;
  readonly failures: string[] = [];
  readonly lines: string[] = [];
  readonly delivered: Delivered[] = [];
  readonly completed: Frame[] = [];
  wakes = 0;
  polls = 0;
  /** What `passed` says. */
  passed: (fence: ReceiveFence) => boolean = () => true;
  /** The stack keeps what it is delivered. */
  keeping: Frame[] | null = null;
  failing: string | null = null;
  /** The memory that outgoing frames lie in. */
  readonly pool: FramePool;
  readonly large: FramePool;
  vi = -1;
  private readonly held = { shares: 0, registers: 0, ports: 0 };
  private readonly handlers = new Map<number, () => void>();
  private readonly masked = new Set<number>();

  constructor(readonly script: Script = {}) {
    const { memory, clock } = this;
    const options = {
      concurrent: false,
      interrupt: (vector: number): void => this.raise(vector),
      clock: () => clock.now() * 1000,
    };
    const make = (): Nic => Nic.create(memory, this.take(nicStateBytes(NIC)), options, NIC);
    this.nic = make();
    this.peerNic = make();
    this.control = this.nic.control(0);
    const ends = [this.nic, this.peerNic].map((nic) => ({ nic, port: 0 })) as [
      { nic: Nic; port: 0 },
      { nic: Nic; port: 0 },
    ];
    this.wire = Wire.create(memory, this.take(wireStateBytes({})), ...ends, {});
    this.pool = new FramePool(64, memory.allocate(32), 2048);
    this.large = new FramePool(2, memory.allocate(36), 18 * PAGE_BYTES);
    [this.mailbox, this.backend] = mailboxPair();
    this.services = this.makeServices();
    this.answer();
  }

  /** A frame of these bytes, held once by the caller. */
  frame(bytes: Uint8Array): Frame {
    const frame = (bytes.length > 2048 ? this.large : this.pool).allocate()!;
    this.memory.bytes.set(bytes, frame.home);
    frame.describe(frame.home, bytes.length);
    return frame;
  }

  /** Lets everything that was promised happen. */
  async settle(): Promise<void> {
    for (let i = 0; i < 1000; i++) await Promise.resolve();
  }

  /** Waits for something that needs time, while the clock goes on. */
  async during<T>(work: Promise<T>, device?: FrontendAccelerator): Promise<T> {
    const state = { over: false };
    const end = (): void => {
      state.over = true;
    };
    work.then(end, end);
    await this.settle();
    for (let i = 0; i < 1000 && !state.over; i++) {
      device?.poll(64);
      this.clock.advance(10);
      await this.settle();
    }
    return work;
  }

  /** Adds a filter to the NIC as the backend half does, without telling. */
  addFilter(port = 80): number {
    const flow = { mac: macOf(0xa), protocol: 'udp' as const, localAddress: [10, 0, 0, 2], localPort: port };
    return this.control.addFilter(this.vi, { kind: 'local', ...flow });
  }

  /** Tells of a filter; resolves to whether the plugin took it. */
  async tellFilter(filter: number, added = true, fence: readonly number[] = [1]): Promise<boolean> {
    const flow = { protocol: 'udp' as const, localAddress: Uint8Array.of(10, 0, 0, 2), localPort: 80 };
    const remote = { remoteAddress: null, remotePort: 0, vlan: null };
    const payload = encodeFilter({ added, filter, ...flow, ...remote, fence });
    return (await this.backend.request(ControlMessage.filter, payload)).ok;
  }

  /** Tells of an address. */
  async tell(mac: Uint8Array, place: 'here' | 'across' = 'across'): Promise<boolean> {
    const type = place === 'here' ? ControlMessage.localAddress : ControlMessage.remoteAddress;
    return (await this.backend.request(type, encodeAddress(mac))).ok;
  }

  /** Tells of the link. */
  async tellLink(up: boolean): Promise<boolean> {
    return (await this.backend.request(ControlMessage.link, encodeLink(up))).ok;
  }

  /** What is held: all zero after a clean end. */
  ledger(): { shares: number; registers: number; ports: number; timers: number } {
    return { ...this.held, timers: this.clock.pending };
  }

  /** Rings a port's handler, as an event does, unless it is masked. */
  raise(port: number): void {
    const handler = this.handlers.get(port);
    if (handler === undefined || this.masked.has(port)) return;
    this.masked.add(port);
    handler();
  }

  private take(bytes: number): number {
    return this.memory.allocate(Math.ceil(bytes / PAGE_BYTES));
  }

  private fail(what: string): void {
    if (this.failing !== what) return;
    this.failing = null;
    throw new Error(`${what} fails, as the test said`);
  }

  /** The backend half. */
  private answer(): void {
    const { backend, control, memory, script } = this;
    const pages = (refs: Uint32Array): Uint32Array => refs.map((ref) => ref * PAGE_BYTES);
    const on = (type: number, act: (payload: Uint8Array) => Uint8Array): void => {
      backend.handle(type, (payload) => {
        if (script.refuse?.includes(type) === true)
          return { ok: false, payload: script.bytes?.[type] ?? nothing };
        const answer = act(payload);
        return { ok: true, payload: script.bytes?.[type] ?? answer };
      });
    };
    on(ControlMessage.hello, (payload) => {
      const { features, bufferPages } = decodeHello(payload);
      const granted = Math.min(bufferPages, script.pages ?? 8);
      return encodeHello({ oldest: 1, newest: 1, features, bufferPages: granted, ...script.hello });
    });
    on(ControlMessage.rings, (payload) => {
      const rings = decodeRings(payload);
      const registerPage = memory.allocate(1);
      this.vi = control.allocateVi({
        ...rings,
        owner: 16,
        transmitPages: pages(rings.transmitRefs),
        receivePages: pages(rings.receiveRefs),
        eventPages: pages(rings.eventRefs),
        registerPage,
        vector: INTERRUPT,
        startIndex: script.startIndex ?? 0xffff_ffe0,
      });
      return encodeHandover({
        vi: this.vi,
        generation: control.generation,
        startIndex: script.startIndex ?? 0xffff_ffe0,
        registerRef: registerPage / PAGE_BYTES,
        doorbellPort: DOORBELL,
        interruptPort: INTERRUPT,
        mtu: 1500,
        maxFragments: 64,
        maxTransmitBytes: 65553,
        maxBufferPages: 1024,
        maxFilters: 2,
        receiveChecksum: true,
        transmitChecksum: true,
        segmentation: true,
        mac: macOf(0xa),
        ...script.handover,
      });
    });
    on(ControlMessage.buffers, (payload) => {
      const { cookie, refs } = decodeBuffers(payload);
      const bus = control.registerBuffers(this.vi, pages(refs));
      return encodeBuffersReply({ cookie, count: refs.length, bus, ...script.buffers });
    });
    for (const type of [ControlMessage.start, ControlMessage.quiesce, ControlMessage.stray])
      on(type, () => nothing);
  }

  private makeServices(): FrontendServices {
    const { memory, clock, held, nic, mailbox } = this;
    const open = (what: keyof typeof held, end: () => void = () => undefined): (() => void) => {
      held[what]++;
      const state = { open: true };
      return () => {
        if (state.open) held[what]--;
        state.open = false;
        end();
      };
    };
    const refsOf = (address: number, pages: number): Uint32Array =>
      Uint32Array.from({ length: pages }, (_, i) => address / PAGE_BYTES + i);
    const first = this.pool.frames[0]!.home;
    return {
      contract: 1,
      memory,
      mailbox,
      clock,
      vif: { handle: 0, guest: 3, backend: 0, mac: macOf(0xa), mtu: 1500 },
      transmitMemory: {
        address: first,
        pages: 68,
        refs: refsOf(first, 68),
        release: () => {
          throw new Error('transmitMemory is not the plugin’s to release');
        },
      },
      events: {
        open: () => {
          throw new Error('the backend half opens the channels');
        },
        bind: (remote, handler): EventEnd => {
          this.fail('events.bind');
          this.handlers.set(remote, handler);
          const close = open('ports', () => this.handlers.delete(remote));
          this.raise(remote); // the local side is pending at once
          return { port: remote, notify: () => undefined, unmask: () => this.masked.delete(remote), close };
        },
        vector: () => 0,
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
        const close = open('shares');
        const release = (): boolean => {
          close();
          memory.clear(address, pages * PAGE_BYTES); // nobody may read what is given back
          return true;
        };
        return { address, pages, refs: refsOf(address, pages), release };
      },
      mapRegisters: (ref): Registers => {
        this.fail('mapRegisters');
        const page = ref * PAGE_BYTES;
        const unmap = open('registers');
        return {
          write32: (offset, value) => {
            memory.words[(page + offset) >>> 2] = value;
            nic.registerWritten(page + offset);
          },
          read32: (offset) => memory.words[(page + offset) >>> 2]!,
          unmap,
        };
      },
      deliver: (frame) => {
        const bytes: number[] = [];
        for (let f: Frame | null = frame; f !== null; f = f.next)
          bytes.push(...memory.bytes.subarray(f.address, f.address + f.length));
        this.delivered.push({
          bytes: Uint8Array.from(bytes),
          checksum: frame.checksum,
          segmentBytes: frame.segmentBytes,
        });
        if (this.keeping !== null) {
          holdChain(frame);
          this.keeping.push(frame);
        }
      },
      completed: (frame) => {
        this.completed.push(frame);
        releaseChain(frame);
      },
      wake: () => {
        this.wakes++;
      },
      schedulePoll: () => {
        this.polls++;
      },
      passed: (fence) => this.passed(fence),
      log: (level, message) => this.lines.push(`${level}: ${message}`),
      failed: (reason) => this.failures.push(reason),
    };
  }
}

/** A VI at the other end of the wire: gets what is sent, and sends. */
export class FarEnd {
  /** Frames that arrived, in order. */
  readonly frames: Uint8Array[] = [];
  private readonly vi: VirtualInterface;
  private readonly bus: number;
  private readonly buffers: number;
  private readonly batch = new EventBatch(64);
  private readonly ids = new Int32Array(64);

  constructor(private readonly guest: FakeGuest) {
    const { memory, peerNic } = guest;
    const control = peerNic.control(0);
    const pages = (address: number, count: number): number[] =>
      Array.from({ length: count }, (_, i) => address + i * PAGE_BYTES);
    const [transmitRing, receiveRing, eventQueue, page] = [
      memory.allocate(1),
      memory.allocate(1),
      memory.allocate(4),
      memory.allocate(1),
    ];
    const capacities = { transmitCapacity: 64, receiveCapacity: 256, eventCapacity: 1024 };
    const id = control.allocateVi({
      ...capacities,
      owner: 9,
      transmitPages: [transmitRing],
      receivePages: [receiveRing],
      eventPages: pages(eventQueue, 4),
      registerPage: page,
      vector: 0,
    });
    this.buffers = memory.allocate(129);
    this.bus = control.registerBuffers(id, pages(this.buffers, 129));
    const registers = {
      write32: (offset: number, value: number): void => {
        memory.words[(page + offset) >>> 2] = value;
        peerNic.registerWritten(page + offset);
      },
      read32: (offset: number): number => memory.words[(page + offset) >>> 2]!,
      unmap: (): void => undefined,
    };
    this.vi = new VirtualInterface(memory, registers, {
      ...capacities,
      transmitRing,
      receiveRing,
      eventQueue,
    });
    for (let i = 0; i < 256; i++) this.post(i);
    this.vi.receivePush();
    control.addFilter(id, { kind: 'unmatchedUnicast' });
    control.addFilter(id, { kind: 'unmatchedMulticast' });
  }

  /** Sends a frame to the guest's NIC. */
  send(bytes: Uint8Array): void {
    this.look();
    const at = 128 * PAGE_BYTES;
    this.guest.memory.bytes.set(bytes, this.buffers + at);
    if (!this.vi.transmitInit(this.bus + at, bytes.length, 0))
      throw new Error('the far end has no transmit space');
    this.vi.transmitPush();
  }

  /** Takes what arrived: all frames so far. */
  look(): Uint8Array[] {
    for (let n = this.vi.poll(this.batch); n > 0; n = this.vi.poll(this.batch)) {
      const { type, id, bytes, detail } = this.batch;
      for (let i = 0; i < n; i++) {
        if (type[i] === EventType.transmit) this.vi.transmitUnbundle(detail[i]!, this.ids);
        if (type[i] !== EventType.receive) continue;
        const at = this.buffers + id[i]! * 2048;
        this.frames.push(this.guest.memory.bytes.slice(at, at + bytes[i]!));
        this.post(id[i]!);
      }
      this.vi.receivePush();
    }
    return this.frames;
  }

  private post(buffer: number): void {
    this.vi.receiveInit(this.bus + buffer * 2048, 2048, buffer);
  }
}
