/** A `Libc` without a kernel: hands out addresses, remembers calls, answers as the test says. */
import type { Libc } from '../../src/tap/index.js';

/** What the kernel side of a call does with the process's memory: result, or minus an error number. */
export type Answer = (first: number, second: number, third: number) => number;

const REGION_STRIDE = 2 ** 24;

/** See the top of the file. */
export class ScriptedLibc implements Libc {
  /** Answers to readv, writev, ioctl by name; -1 with error number 38 (ENOSYS) where there is none. */
  readonly answers = new Map<'readv' | 'writev' | 'ioctl', Answer>();
  private readonly regions: Uint8Array[] = [];
  private lastErrno = 0;

  /** Addresses begin here: high enough that both words of an iovec matter. */
  constructor(private readonly firstAddress = 0x7f12_3000_0000) {}

  addressOf(view: ArrayBufferView): number {
    this.regions.push(new Uint8Array(view.buffer, view.byteOffset, view.byteLength));
    return this.firstAddress + (this.regions.length - 1) * REGION_STRIDE;
  }

  /** The memory behind an address that was handed out. */
  at(address: number, length: number): Uint8Array {
    const index = Math.floor((address - this.firstAddress) / REGION_STRIDE);
    const offset = (address - this.firstAddress) % REGION_STRIDE;
    const region = this.regions[index];
    if (region === undefined || offset + length > region.length) {
      throw new Error(`the kernel was shown ${length} bytes at ${address.toString(16)}, which are nobody's`);
    }
    return region.subarray(offset, offset + length);
  }

  /** The places of an iovec array, as the kernel sees them. */
  places(vectorAddress: number, count: number): Uint8Array[] {
    const bytes = this.at(vectorAddress, count * 16);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return Array.from({ length: count }, (_, index) =>
      this.at(Number(view.getBigUint64(index * 16, true)), Number(view.getBigUint64(index * 16 + 8, true))),
    );
  }

  /** Spreads `bytes` over the places of a vector as readv does, and returns how many fitted. */
  scatter(vectorAddress: number, count: number, bytes: ArrayLike<number>): number {
    let done = 0;
    for (const place of this.places(vectorAddress, count)) {
      const part = Array.from(bytes).slice(done, done + place.length);
      place.set(part);
      done += part.length;
    }
    return done;
  }

  /** Collects the bytes of a vector as writev does. */
  gather(vectorAddress: number, count: number): number[] {
    return this.places(vectorAddress, count).flatMap((place) => Array.from(place));
  }

  readv(...values: [number, number, number]): number {
    return this.answer('readv', values);
  }

  writev(...values: [number, number, number]): number {
    return this.answer('writev', values);
  }

  ioctl(...values: [number, number, number]): number {
    return this.answer('ioctl', values);
  }

  errno(): number {
    return this.lastErrno;
  }

  socket(): number {
    return 3;
  }

  open = unscripted;
  close = (): number => 0;
  fcntl = unscripted;
  read = unscripted;
  write = unscripted;
  poll = unscripted;
  sendTo: Libc['sendTo'] = unscripted;
  eventfd = unscripted;
  setns = unscripted;
  unshare = unscripted;
  execvp = unscripted;

  private answer(name: 'readv' | 'writev' | 'ioctl', values: [number, number, number]): number {
    const result = this.answers.get(name)?.(...values) ?? -38;
    if (result >= 0) return result;
    this.lastErrno = -result;
    return -1;
  }
}

function unscripted(): number {
  throw new Error('this test did not expect that call');
}
