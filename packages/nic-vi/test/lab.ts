// Two NICs on a wire and VIs on them, in one thread: what most tests run on.
import { PAGE_BYTES, type Registers } from '@netaccel/core-hooks';
import {
  EventBatch,
  EventFlag,
  EventType,
  TransmitFlag,
  VirtualInterface,
  transmitDescriptor,
  type NicControl,
  type ViRequest,
} from '../src/index.js';
import {
  Nic,
  Wire,
  nicStateBytes,
  wireStateBytes,
  type NicConfig,
  type WireConfig,
} from '../src/model/index.js';
import { PlainMemory } from './memory.js';

export interface LabOptions {
  nic?: NicConfig;
  wire?: WireConfig;
  /** Indices begin here; near 2^32 when left out, so that every test sees them wrap. */
  startIndex?: number;
  /** As if other threads were there. */
  concurrent?: boolean;
}

export interface ViOptions {
  transmitCapacity?: number;
  receiveCapacity?: number;
  eventCapacity?: number;
  bufferBytes?: number;
  /** Receive buffers posted at once; the capacity when left out. */
  buffers?: number;
  request?: Partial<ViRequest>;
}

/** A frame as a VI received it. */
export interface Received {
  bytes: Uint8Array;
  flags: number;
  filter: number;
  buffers: number;
}

export class Lab {
  readonly memory: PlainMemory;
  readonly nics: [Nic, Nic];
  readonly wire: Wire;
  /** Where the NICs' states are. */
  readonly places: number[] = [];
  readonly interrupts: number[] = [];
  readonly startIndex: number;
  now = 0;
  private next = PAGE_BYTES;

  constructor(options: LabOptions = {}) {
    const concurrent = options.concurrent ?? false;
    this.memory = new PlainMemory(concurrent ? new SharedArrayBuffer(6 << 20) : new ArrayBuffer(6 << 20));
    this.startIndex = options.startIndex ?? 2 ** 32 - 5;
    const config = { vis: 8, bufferPages: 1024, filters: 64, sets: 2, ...options.nic };
    const make = (n: number) =>
      Nic.create(
        this.memory,
        this.places[this.places.push(this.take(nicStateBytes(config))) - 1]!,
        {
          concurrent,
          interrupt: (vector) => this.interrupts.push(vector),
          clock: () => this.now,
          timers: true,
          lockPatienceMs: 10,
        },
        { ...config, macs: [[2, 0, 0, 0, 0, n]] },
      );
    this.nics = [make(1), make(2)];
    const wire = { slots: 64, captureSlots: 16, ...options.wire };
    this.wire = Wire.create(
      this.memory,
      this.take(wireStateBytes(wire)),
      { nic: this.nics[0], port: 0 },
      { nic: this.nics[1], port: 0 },
      wire,
    );
  }

  /** Zeroed pages. */
  take(bytes: number): number {
    const at = this.next;
    this.next += Math.ceil(bytes / PAGE_BYTES) * PAGE_BYTES;
    return at;
  }

  pages(address: number, count: number): number[] {
    return Array.from({ length: count }, (_, i) => address + i * PAGE_BYTES);
  }

  vi(side: 0 | 1, options: ViOptions = {}): TestVi {
    return new TestVi(this, side, options);
  }

  /** Moves the time, and lets what is due happen. */
  advance(us: number): number {
    this.now += us;
    const next = this.nics.map((nic) => nic.advance(this.now));
    return Math.min(...next);
  }
}

/** A VI with its buffers: sends bytes, gives back bytes. */
export class TestVi {
  readonly control: NicControl;
  readonly id: number;
  readonly vi: VirtualInterface;
  readonly registers: Registers;
  readonly registerPage: number;
  readonly rings: { transmitRing: number; receiveRing: number; eventQueue: number };
  readonly request: ViRequest;
  readonly batch = new EventBatch(64);
  readonly bufferBytes: number;
  readonly receiveBus: number;
  readonly receiveAddress: number;
  readonly transmitBus: number;
  readonly transmitAddress: number;
  /** Ids of transmits that completed, in order. */
  readonly completed: number[] = [];
  /** Every other event, in order. */
  readonly others: { type: number; detail: number; reason: number }[] = [];
  private readonly ids = new Int32Array(64);
  private transmitAt = 0;
  private partial: number[] = [];
  private partialBuffers = 0;
  private nextId = 1;

  constructor(
    private readonly lab: Lab,
    side: 0 | 1,
    options: ViOptions,
  ) {
    const { memory } = lab;
    const nic = lab.nics[side];
    const transmitCapacity = options.transmitCapacity ?? 64;
    const receiveCapacity = options.receiveCapacity ?? 64;
    const eventCapacity = options.eventCapacity ?? 256;
    this.bufferBytes = options.bufferBytes ?? 2048;
    this.control = nic.control(0);
    this.registerPage = lab.take(PAGE_BYTES);
    const ring = (bytes: number) => lab.take(bytes);
    this.rings = {
      transmitRing: ring(transmitCapacity * 16),
      receiveRing: ring(receiveCapacity * 8),
      eventQueue: ring(eventCapacity * 16),
    };
    const pagesFor = (at: number, bytes: number) => lab.pages(at, Math.ceil(bytes / PAGE_BYTES));
    this.request = {
      owner: 10 + lab.nics[side].describe().liveVis,
      transmitPages: pagesFor(this.rings.transmitRing, transmitCapacity * 16),
      transmitCapacity,
      receivePages: pagesFor(this.rings.receiveRing, receiveCapacity * 8),
      receiveCapacity,
      eventPages: pagesFor(this.rings.eventQueue, eventCapacity * 16),
      eventCapacity,
      registerPage: this.registerPage,
      vector: 100 * (side + 1) + lab.nics[side].describe().liveVis,
      startIndex: lab.startIndex,
      ...options.request,
    };
    this.id = this.control.allocateVi(this.request);
    const page = this.registerPage;
    this.registers = {
      write32(offset, value) {
        memory.words[(page + offset) >>> 2] = value;
        nic.registerWritten(page + offset);
      },
      read32: (offset) => memory.words[(page + offset) >>> 2]!,
      unmap: () => undefined,
    };
    this.vi = new VirtualInterface(memory, this.registers, {
      ...this.rings,
      transmitCapacity,
      receiveCapacity,
      eventCapacity,
      startIndex: lab.startIndex,
    });
    const bytes = receiveCapacity * this.bufferBytes;
    this.receiveAddress = lab.take(bytes);
    this.receiveBus = this.control.registerBuffers(this.id, pagesFor(this.receiveAddress, bytes));
    this.transmitAddress = lab.take(48 * PAGE_BYTES);
    this.transmitBus = this.control.registerBuffers(this.id, lab.pages(this.transmitAddress, 48));
    this.post(options.buffers ?? receiveCapacity);
  }

  /** Posts buffers 0 to `count`. */
  post(count: number): void {
    for (let i = 0; i < count; i++)
      this.vi.receiveInit(this.receiveBus + i * this.bufferBytes, this.bufferBytes, i);
    this.vi.receivePush();
  }

  /** Puts bytes into transmit memory; returns their bus address. */
  place(bytes: Uint8Array, at = this.transmitAt): number {
    if (at + bytes.length > 48 * PAGE_BYTES) at = 0;
    this.lab.memory.bytes.set(bytes, this.transmitAddress + at);
    this.transmitAt = at + Math.ceil(bytes.length / 16) * 16;
    return this.transmitBus + at;
  }

  /** Sends one frame; returns its id. */
  send(bytes: Uint8Array, flags = 0, segmentBytes = 0): number {
    const id = this.nextId++;
    const bus = this.place(bytes);
    if (!this.vi.transmitInit(bus, bytes.length, id, flags, segmentBytes))
      throw new Error('no transmit space');
    this.vi.transmitPush();
    return id;
  }

  /** Polls until nothing is left: received frames in order; everything else is kept in `completed` and `others`. */
  poll(repost = true): Received[] {
    const frames: Received[] = [];
    for (let n = this.vi.poll(this.batch); n > 0; n = this.vi.poll(this.batch)) {
      for (let i = 0; i < n; i++) this.take(i, frames, repost);
      this.vi.receivePush();
    }
    return frames;
  }

  private take(i: number, frames: Received[], repost: boolean): void {
    const { type, flags, id, bytes, detail } = this.batch;
    const { memory } = this.lab;
    switch (type[i]) {
      case EventType.receive: {
        const at = this.receiveAddress + id[i]! * this.bufferBytes;
        if ((flags[i]! & EventFlag.start) !== 0) {
          this.partial = [];
          this.partialBuffers = 0;
        }
        this.partial.push(...memory.bytes.subarray(at, at + bytes[i]!));
        this.partialBuffers++;
        if (repost)
          this.vi.receiveInit(this.receiveBus + id[i]! * this.bufferBytes, this.bufferBytes, id[i]!);
        if ((flags[i]! & EventFlag.continues) === 0)
          frames.push({
            bytes: Uint8Array.from(this.partial),
            flags: flags[i]!,
            filter: detail[i]!,
            buffers: this.partialBuffers,
          });
        break;
      }
      case EventType.transmit: {
        const n = this.vi.transmitUnbundle(detail[i]!, this.ids);
        this.completed.push(...this.ids.subarray(0, n));
        break;
      }
      default:
        this.others.push({ type: type[i]!, detail: detail[i]!, reason: this.batch.reason(i) });
    }
  }

  /** Sets the bit that says "more of this frame follows" in every transmit descriptor. */
  continueForever(): void {
    const first = (this.rings.transmitRing >>> 2) + transmitDescriptor.fields.continues.word;
    for (let i = 0; i < this.request.transmitCapacity; i++)
      this.lab.memory.words[first + i * 4]! |= TransmitFlag.continues;
  }

  counters(): Readonly<Record<string, number>> {
    return this.control.viStatistics(this.id);
  }
}
