// Two hosts on a wire, a guest on each, and both halves of the reference plugin, without a machine: the slow path is a
// model of netfront and netback that keeps their rules and nothing else. Everything moves in small steps that a test
// chooses, so that every interleaving can be met again by its seed.
import { FramePool, PAGE_BYTES, Verdict, releaseChain } from '@netaccel/core-hooks';
import type {
  Frame,
  BackendAccelerator,
  BackendAcceleratorDefinition,
  BackendServices,
  CommonServices,
  EventEnd,
  FrontendAccelerator,
  FrontendAcceleratorDefinition,
  FrontendServices,
  ReceiveFence,
  SharedPages,
} from '@netaccel/core-hooks';
import { FlatMemory, VirtualClock, mailboxPair } from '@netaccel/core-hooks/testing';
import type { FakeMailbox } from '@netaccel/core-hooks/testing';
import type { NicControl } from '@netaccel/nic-vi';
import { Nic, Wire, nicStateBytes, wireStateBytes } from '@netaccel/nic-vi/model';
import { DriverDomain } from './driver-domain.js';

const NIC = { vis: 8, bufferPages: 2048, filters: 64 };
/** Slots of the slow path's rx ring: few, so that a backlog builds up behind it. */
const RING = 6;

export interface Plugins {
  readonly frontend: FrontendAcceleratorDefinition;
  readonly backend: BackendAcceleratorDefinition;
}

export class TwoGuests {
  readonly memory = new FlatMemory(12_000);
  readonly clock = new VirtualClock();
  readonly sides: readonly [Side, Side];
  readonly wire: Wire;
  /** Port numbers and their handlers, of all domains: an event is delivered at once. */
  readonly handlers = new Map<number, () => void>();
  readonly masked = new Set<number>();
  readonly ledger = { shares: 0, maps: 0, ports: 0, registers: 0 };
  private nextPort = 1;

  constructor(
    readonly plugins: Plugins,
    readonly maxFilters: number,
  ) {
    this.sides = [new Side(this, 0), new Side(this, 1)];
    const [a, b] = this.sides;
    const state = this.memory.allocate(Math.ceil(wireStateBytes({}) / PAGE_BYTES));
    this.wire = Wire.create(this.memory, state, { nic: a.nic, port: 0 }, { nic: b.nic, port: 0 }, {});
  }

  /** Lets promises have their turn. */
  async settle(): Promise<void> {
    for (let i = 0; i < 200; i++) await Promise.resolve();
  }

  /** Waits for something while everything goes on. */
  async during<T>(work: Promise<T>): Promise<T> {
    const state = { over: false };
    const end = (): void => {
      state.over = true;
    };
    work.then(end, end);
    for (let i = 0; i < 3000 && !state.over; i++) {
      for (const side of this.sides) side.step();
      if (i % 4 === 0) this.clock.advance(1);
      await this.settle();
    }
    return work;
  }

  port(handler: () => void): number {
    const port = this.nextPort++;
    this.handlers.set(port, handler);
    return port;
  }

  raise(port: number): void {
    const handler = this.handlers.get(port);
    if (handler === undefined || this.masked.has(port)) return;
    this.masked.add(port);
    handler();
  }

  own(what: keyof TwoGuests['ledger'], end: () => void = () => undefined): () => void {
    this.ledger[what]++;
    const state = { open: true };
    return () => {
      if (state.open) this.ledger[what]--;
      state.open = false;
      end();
    };
  }
}

/** One host and its guest. */
export class Side {
  readonly mac: Uint8Array;
  readonly nic: Nic;
  readonly control: NicControl;
  readonly domain: DriverDomain;
  /** Frames for the guest: on their way to its rx ring, and on it. */
  readonly backlog: Uint8Array[] = [];
  readonly ring: Uint8Array[] = [];
  /** Free-running indices of the ring, from near the wrap. */
  produced = 0xffff_fff0;
  consumed = 0xffff_fff0;
  /** Frames of the guest on its tx ring. */
  readonly slowOut: Frame[] = [];
  /** What the guest's stack got. */
  readonly delivered: Uint8Array[] = [];
  readonly counts = { fastSent: 0, slowSent: 0, busy: 0, fastReceived: 0, slowReceived: 0 };
  readonly failures: string[] = [];
  readonly pool: FramePool;
  plugin: FrontendAccelerator | null = null;
  half: BackendAccelerator | null = null;
  /** Frames of each flow under way by either path. */
  readonly slowFlow = new Map<number, number>();
  readonly fastFlow = new Map<number, number>();
  offering = false;
  private readonly pooled: number;
  private fences: { mark: number; resolve: (fence: ReceiveFence) => void }[] = [];
  private queued = 0;
  private left = 0;
  private phase = 0;
  private inPhase = false;

  constructor(
    readonly lab: TwoGuests,
    readonly index: number,
  ) {
    const { memory } = lab;
    this.mac = Uint8Array.of(2, 0, 0, 0, 0, 0xa + index);
    const take = (bytes: number): number => memory.allocate(Math.ceil(bytes / PAGE_BYTES));
    const options = {
      concurrent: false,
      interrupt: (vector: number): void => lab.raise(vector),
      clock: () => lab.clock.now() * 1000,
    };
    this.nic = Nic.create(memory, take(nicStateBytes(NIC)), options, NIC);
    this.control = this.nic.control(0);
    this.pooled = memory.allocate(32);
    this.pool = new FramePool(256, this.pooled, 512);
    this.domain = new DriverDomain(this);
  }

  /** Both halves attach. */
  async attach(): Promise<void> {
    const [front, back] = mailboxPair();
    this.half = await this.lab.plugins.backend.probe(this.backendServices(back));
    this.plugin = await this.lab.plugins.frontend.newDevice(this.frontendServices(front));
    this.offering = true;
  }

  /** Both halves leave, as netfront and netback make them. */
  async detach(): Promise<void> {
    const { plugin, half, lab } = this;
    this.offering = false;
    await lab.during(plugin!.quiesce());
    for (let i = 0; i < 100; i++) this.poll(64);
    this.plugin = null;
    await lab.during(plugin!.remove());
    this.half = null;
    await lab.during(half!.remove());
  }

  /** Offers a frame of a flow, by netfront's rule. Answers whether it went, by either path. */
  send(bytes: Uint8Array, flow: number): boolean {
    const frame = this.pool.allocate();
    if (frame === null) return false;
    this.lab.memory.bytes.set(bytes, frame.home);
    frame.describe(frame.home, bytes.length);
    frame.tag = flow;
    if (this.offering && this.plugin !== null && (this.slowFlow.get(flow) ?? 0) === 0) {
      const verdict = this.plugin.startTransmit(frame, false);
      if (verdict === Verdict.sent) {
        this.counts.fastSent++;
        add(this.fastFlow, flow, 1);
        return true;
      }
      if (verdict === Verdict.busy) this.counts.busy++;
      // Busy: kept by netfront, offered again. Declined: not before the flow's fast frames are out.
      if (verdict === Verdict.busy || (this.fastFlow.get(flow) ?? 0) > 0) {
        frame.release();
        return false;
      }
    } else if ((this.fastFlow.get(flow) ?? 0) > 0) {
      frame.release();
      return false;
    }
    this.counts.slowSent++;
    add(this.slowFlow, flow, 1);
    this.slowOut.push(frame);
    return true;
  }

  /** A bit of everything. */
  step(): void {
    this.drainOut(2);
    this.domain.poll(3);
    this.fill(2);
    this.poll(4);
  }

  /** Netback takes frames off the tx ring. */
  drainOut(most: number): void {
    for (let frame = this.slowOut[0]; most > 0 && frame !== undefined; frame = this.slowOut[0], most--) {
      if (!this.domain.send(frame)) return;
      this.slowOut.shift();
      add(this.slowFlow, frame.tag, -1);
      frame.release();
    }
  }

  /** A frame for the guest enters the slow path. */
  enter(bytes: Uint8Array): void {
    this.backlog.push(bytes);
    this.queued++;
  }

  /** Netback fills the rx ring. */
  fill(most: number): void {
    for (; most > 0 && this.backlog.length > 0 && this.ring.length < RING; most--) {
      this.ring.push(this.backlog.shift()!);
      this.left++;
      this.produced = (this.produced + 1) >>> 0;
    }
    this.fences = this.fences.filter(({ mark, resolve }) => {
      if (this.left < mark) return true;
      resolve([this.produced]);
      return false;
    });
  }

  /** Netfront's poll: what the plugin's queue held comes before what was on the ring when it was looked at. */
  poll(budget: number): void {
    if (!this.inPhase) {
      this.phase = this.ring.length;
      this.inPhase = true;
    }
    if (this.plugin !== null && this.plugin.poll(budget) === budget) return;
    for (; this.phase > 0; this.phase--) {
      this.consumed = (this.consumed + 1) >>> 0;
      this.counts.slowReceived++;
      this.delivered.push(this.ring.shift()!);
    }
    this.inPhase = false;
    if (this.plugin !== null && !this.plugin.startInterrupts()) this.plugin.stopInterrupts();
  }

  private common(mailbox: FakeMailbox): CommonServices {
    const { lab } = this;
    const { memory } = lab;
    const bind = (handler: () => void): EventEnd => {
      const port = lab.port(handler);
      const close = lab.own('ports', () => lab.handlers.delete(port));
      return { port, notify: () => lab.raise(port), unmask: () => lab.masked.delete(port), close };
    };
    return {
      contract: 1,
      memory,
      mailbox,
      clock: lab.clock,
      events: {
        open: bind,
        // One end for both: the vector of an opened port rings whoever bound it.
        bind: (remote, handler) => {
          const end = bind(handler);
          lab.handlers.set(remote, () => {
            lab.masked.delete(remote);
            handler();
          });
          return end;
        },
        vector: ({ port }) => port,
      },
      store: {
        read: () => Promise.resolve(null),
        write: () => Promise.resolve(),
        readPeer: () => Promise.resolve(null),
        watchPeer: () => Promise.resolve(() => Promise.resolve()),
      },
      share: (pages): SharedPages => {
        const address = memory.allocate(pages);
        const close = lab.own('shares');
        const refs = Uint32Array.from({ length: pages }, (_, i) => address / PAGE_BYTES + i);
        const release = (): boolean => {
          close();
          return true;
        };
        return { address, pages, refs, release };
      },
      log: () => undefined,
      failed: (reason) => this.failures.push(reason),
    };
  }

  private vif(): BackendServices['vif'] {
    return { handle: 0, guest: 1 + this.index, backend: 0, mac: this.mac, mtu: 1500 };
  }

  private backendServices(mailbox: FakeMailbox): BackendServices {
    const { lab, domain } = this;
    return {
      ...this.common(mailbox),
      vif: this.vif(),
      limits: { maxFilters: lab.maxFilters, maxBufferPages: 128, maxMulticasts: 8 },
      rateBytesPerSecond: 0,
      onCredit: (handler) => {
        handler(Infinity, Infinity);
        return () => undefined;
      },
      port: domain.hold(),
      map: (refs) => ({ addresses: refs.map((ref) => ref * PAGE_BYTES), unmap: lab.own('maps') }),
      fence: () => new Promise((resolve) => this.fences.push({ mark: this.queued, resolve })),
    };
  }

  private frontendServices(mailbox: FakeMailbox): FrontendServices {
    const { lab, pooled } = this;
    const { memory } = lab;
    return {
      ...this.common(mailbox),
      vif: this.vif(),
      transmitMemory: {
        address: pooled,
        pages: 32,
        refs: Uint32Array.from({ length: 32 }, (_, i) => pooled / PAGE_BYTES + i),
        release: () => false,
      },
      mapRegisters: (ref) => {
        const page = ref * PAGE_BYTES;
        return { ...this.registers(page), unmap: lab.own('registers') };
      },
      deliver: (frame) => {
        const bytes: number[] = [];
        for (let f: Frame | null = frame; f !== null; f = f.next)
          bytes.push(...memory.bytes.subarray(f.address, f.address + f.length));
        this.counts.fastReceived++;
        this.delivered.push(Uint8Array.from(bytes));
      },
      completed: (frame) => {
        add(this.fastFlow, frame.tag, -1);
        releaseChain(frame);
      },
      wake: () => undefined,
      schedulePoll: () => undefined,
      passed: (fence) => fence.every((index) => ((this.consumed - index) | 0) >= 0),
    };
  }

  /** A register page as its driver has it. */
  registers(page: number): { write32(offset: number, value: number): void; read32(offset: number): number } {
    const { memory } = this.lab;
    return {
      write32: (offset, value) => {
        memory.words[(page + offset) >>> 2] = value;
        this.nic.registerWritten(page + offset);
      },
      read32: (offset) => memory.words[(page + offset) >>> 2]!,
    };
  }
}

function add(map: Map<number, number>, key: number, by: number): void {
  map.set(key, (map.get(key) ?? 0) + by);
}
