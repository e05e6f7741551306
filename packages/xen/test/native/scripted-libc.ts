/**
 * A C library with scripted Xen devices behind it: answers the calls of `src/native` like the kernel does, notes
 * each down, and fails where a test says so. Memory is as real as it gets without a kernel: the arguments are read
 * and written where the caller put them.
 */
import { constants } from 'node:os';
import type { DescriptorPoll, NativeLibc } from '../../src/native/index.js';

/** Addresses that the script gives out: far apart, so that a wrong one is found. */
const FIRST_ADDRESS = 0x7f12_0000_0000;
const APART = 0x1_0000_0000;

const Request = {
  bindInterdomain: 0x84501,
  bindUnbound: 0x44502,
  unbind: 0x44503,
  notify: 0x44504,
  mapGrantRef: 0x184700,
  unmapGrantRef: 0x104701,
  unmapNotify: 0x104707,
  grantCopy: 0x104708,
  allocate: 0x184705,
  deallocate: 0x104706,
} as const;

const ANONYMOUS = 0x20;
const NO_REPLACE = 0x100000;

export interface Mapping {
  readonly address: number;
  readonly length: number;
  readonly protection: number;
  readonly flags: number;
  readonly descriptor: number;
  readonly offset: number;
}

export interface Copy {
  readonly source: readonly [low: number, high: number];
  readonly destination: readonly [low: number, high: number];
  readonly length: number;
  readonly flags: number;
}

export class ScriptedLibc implements NativeLibc {
  /** Errors to answer with, by what is done: `open /dev/xen/evtchn`, `ioctl notify`, `mmap`, `mmap anonymous`. */
  readonly failures = new Map<string, keyof typeof constants.errno>();
  /** What was done, in order. */
  readonly calls: string[] = [];
  readonly mappings: Mapping[] = [];
  readonly copies: Copy[] = [];
  /** Statuses of the copies to come, by grant reference; okay when left out. */
  readonly statuses = new Map<number, number>();
  /** Ports that wait to be read from the event device. */
  readonly events: number[] = [];
  readonly bound = new Set<number>();
  readonly notified: number[] = [];
  readonly unmasked: number[][] = [];
  /** Grants given out: reference by index. */
  readonly granted = new Map<
    number,
    { readonly domain: number; readonly flags: number; readonly count: number }
  >();
  readonly unmapNotices: { readonly index: number; readonly action: number; readonly port: number }[] = [];
  /** What the device at this path reads and takes. */
  readonly streams = new Map<string, { read(): Uint8Array | null; write(bytes: Uint8Array): void }>();
  readonly open_ = new Map<number, string>();
  private readonly memories: { readonly buffer: ArrayBufferLike; readonly at: number }[] = [];
  private readonly polls = new Map<number, () => void>();
  private nextDescriptor = 10;
  private nextPort = 5;
  private nextRef = 1000;
  private nextIndex = 0;
  private lastError = 0;

  addressOf(view: ArrayBufferView): number {
    let memory = this.memories.find(({ buffer }) => buffer === view.buffer);
    if (memory === undefined) {
      memory = { buffer: view.buffer, at: FIRST_ADDRESS + this.memories.length * APART };
      this.memories.push(memory);
    }
    return memory.at + view.byteOffset;
  }

  errno(): number {
    return this.lastError;
  }

  open(path: string): number {
    if (this.failed(`open ${path}`)) return -1;
    this.open_.set(this.nextDescriptor, path);
    return this.nextDescriptor++;
  }

  close(descriptor: number): number {
    this.calls.push(`close ${this.open_.get(descriptor)}`);
    this.open_.delete(descriptor);
    return 0;
  }

  mmap(
    address: number,
    length: number,
    protection: number,
    flags: number,
    descriptor: number,
    offset: number,
  ): number {
    const fresh = (flags & ANONYMOUS) !== 0;
    const what = fresh ? ((flags & NO_REPLACE) === 0 ? 'mmap anonymous' : 'mmap hole') : 'mmap';
    this.calls.push(what);
    if (this.failed(what)) return -1;
    this.mappings.push({ address, length, protection, flags, descriptor, offset });
    this.bytesAt(address, length).fill(0);
    return address;
  }

  read(descriptor: number, address: number, length: number): number {
    const path = this.open_.get(descriptor)!;
    const stream = this.streams.get(path);
    if (stream !== undefined) {
      const bytes = stream.read();
      if (bytes === null) return this.fail('EAGAIN');
      this.bytesAt(address, bytes.length).set(bytes);
      return bytes.length;
    }
    if (this.events.length === 0) return this.fail('EAGAIN');
    const ports = this.events.splice(0, length / 4);
    const view = this.viewAt(address, 4 * ports.length);
    ports.forEach((port, i) => view.setUint32(4 * i, port, true));
    return 4 * ports.length;
  }

  write(descriptor: number, address: number, length: number): number {
    const bytes = this.bytesAt(address, length).slice();
    const stream = this.streams.get(this.open_.get(descriptor)!);
    if (stream !== undefined) {
      if (this.failed('write')) return -1;
      stream.write(bytes);
      return length;
    }
    this.unmasked.push([...new Uint32Array(bytes.buffer)]);
    return length;
  }

  ioctl(_descriptor: number, request: number, argument: number): number {
    const name = Object.entries(Request).find(([, value]) => value === request)?.[0] ?? `unknown ${request}`;
    this.calls.push(`ioctl ${name}`);
    if (this.failed(`ioctl ${name}`)) return -1;
    const view = this.viewAt(argument, 16384);
    switch (request) {
      case Request.bindInterdomain:
      case Request.bindUnbound:
        this.bound.add(this.nextPort);
        return this.nextPort++;
      case Request.unbind:
        this.bound.delete(view.getUint32(0, true));
        return 0;
      case Request.notify:
        this.notified.push(view.getUint32(0, true));
        return 0;
      case Request.mapGrantRef:
        return this.giveIndex(view, 8, view.getUint32(0, true));
      case Request.allocate:
        return this.allocate(view);
      case Request.deallocate:
        this.granted.delete(Number(view.getBigUint64(0, true)));
        return 0;
      case Request.unmapNotify:
        this.unmapNotices.push({
          index: Number(view.getBigUint64(0, true)),
          action: view.getUint32(8, true),
          port: view.getUint32(12, true),
        });
        return 0;
      case Request.grantCopy:
        this.copy(view);
        return 0;
      default:
        return 0;
    }
  }

  poll(descriptor: number, ready: () => void): DescriptorPoll {
    return {
      start: () => void this.polls.set(descriptor, ready),
      stop: () => void this.polls.delete(descriptor),
      close: () => void this.polls.delete(descriptor),
    };
  }

  /** Ends a sleep: something at `path` can be read. */
  readable(path: string): void {
    for (const [descriptor, opened] of this.open_) if (opened === path) this.polls.get(descriptor)?.();
  }

  /** Descriptors that are looked after. */
  get polled(): string[] {
    return [...this.polls.keys()].map((descriptor) => this.open_.get(descriptor)!);
  }

  /** The memory at an address. */
  bytesAt(address: number, length: number): Uint8Array {
    const memory = this.memories.find(({ at, buffer }) => address >= at && address < at + buffer.byteLength);
    if (memory === undefined) throw new Error(`address ${address.toString(16)} is nobody's`);
    return new Uint8Array(memory.buffer, address - memory.at, length);
  }

  private viewAt(address: number, length: number): DataView {
    const { buffer, byteOffset } = this.bytesAt(address, length);
    return new DataView(buffer, byteOffset, length);
  }

  private giveIndex(view: DataView, at: number, pages: number): number {
    view.setBigUint64(at, BigInt(this.nextIndex), true);
    this.nextIndex += pages * 4096;
    return 0;
  }

  private allocate(view: DataView): number {
    const count = view.getUint32(4, true);
    this.granted.set(this.nextIndex, {
      domain: view.getUint16(0, true),
      flags: view.getUint16(2, true),
      count,
    });
    for (let i = 0; i < count; i++) view.setUint32(16 + 4 * i, this.nextRef++, true);
    return this.giveIndex(view, 8, count);
  }

  private copy(view: DataView): void {
    const count = view.getUint32(0, true);
    const at = view.getUint32(8, true) + view.getUint32(12, true) * 2 ** 32;
    const segments = this.viewAt(at, count * 24);
    for (let i = 0; i < count; i++) {
      const word = (n: number): number => segments.getUint32(24 * i + 4 * n, true);
      const flags = word(4) >>> 16;
      const copy: Copy = {
        source: [word(0), word(1)],
        destination: [word(2), word(3)],
        length: word(4) & 0xffff,
        flags,
      };
      this.copies.push(copy);
      const ref = flags === 1 ? copy.source[0] : copy.destination[0];
      if (copy.length > 0) segments.setInt16(24 * i + 20, this.statuses.get(ref) ?? 0, true);
    }
  }

  private failed(what: string): boolean {
    const name = this.failures.get(what);
    if (name === undefined) return false;
    this.fail(name);
    return true;
  }

  private fail(name: keyof typeof constants.errno): -1 {
    this.lastError = constants.errno[name];
    return -1;
  }
}
