/**
 * Frames of one queue that wait for the guest to post receive buffers, copied into the vif's own memory.
 *
 * Copied, not held: a guest that posts nothing then keeps no other guest's buffers and no NIC's, only its own
 * fixed allowance here (XSA-392). Records lie one after the other in a ring of bytes, each in one piece, so a
 * frame that came as a chain leaves as one fragment. `GuestReceive` pushes at one end and takes at the other;
 * a record's bytes are free again when the frame taken from it is released.
 */
import { PAGE_BYTES } from '@netaccel/core-hooks';
import type { Address, Memory } from '@netaccel/core-hooks';
import { Frame, FreeFrames } from '@netaccel/core-hooks';
import type { PageAllocator } from '@netaccel/xen';

/** Records begin at multiples of this: a cache line. */
const ALIGN = 64;

/** A first-in first-out queue of frames in memory of its own. */
export class Backlog {
  /** Frames ever pushed. */
  pushed = 0;
  /** Frames ever taken: `pushed - taken` wait. */
  taken = 0;
  private readonly home = new FreeFrames();
  /** Those that wait, each in the slot of its number. */
  private readonly frames: Frame[];
  private readonly expiries: Float64Array;
  private readonly starts: Float64Array;
  private readonly address: Address;
  /** Byte counters run free (exact to 2^53); the record at `n` lies at `address + n % capacity`. */
  private head = 0;
  private tail = 0;
  private returned = 0;
  /** What the last frame that was refused took: as much is refused until bytes come back. */
  private refused = Infinity;

  /** @throws MachineError `NO_MEMORY`. */
  constructor(
    private readonly memory: Memory,
    private readonly pages: PageAllocator,
    private readonly capacity: number,
    count: number,
  ) {
    this.address = pages.allocate(capacity / PAGE_BYTES);
    this.frames = Array.from({ length: count }, (_, i) => new Frame(this.home, i, 0, 0));
    for (const frame of this.frames) this.home.put(frame);
    this.home.onHome = () => this.cameHome();
    this.expiries = new Float64Array(count);
    this.starts = new Float64Array(count);
  }

  /** Frames that wait. */
  get length(): number {
    return this.pushed - this.taken;
  }

  /** Bytes that are not free. */
  get bytes(): number {
    return this.head - this.tail;
  }

  /** When the oldest is to be dropped; there is one. */
  get expiry(): number {
    return this.expiries[this.taken % this.frames.length]!;
  }

  /** Whether a frame as long as that was refused, and nothing came back since: the cheap way to say no again. */
  refuses(bytes: number): boolean {
    return bytes >= this.refused;
  }

  /** Takes a copy of a chain that is to be dropped at `expiry`; false when there is no room. */
  push(frame: Frame, expiry: number): boolean {
    const { capacity, memory, frames } = this;
    const out = this.pushed - this.returned;
    if (out === frames.length) {
      this.refused = 0;
      return false;
    }
    // With nothing out, begin at the start again: an empty ring then has room for any frame.
    if (out === 0) this.head = this.tail = 0;
    const bytes = frame.totalBytes;
    const at = this.head % capacity;
    // A record does not wrap: what is left at the end of the ring goes with it.
    const start = at + bytes > capacity ? this.head + capacity - at : this.head;
    if (start + bytes - this.tail > capacity) {
      this.refused = bytes;
      return false;
    }

    const slot = this.pushed % frames.length;
    const copy = this.home.take()!;
    frames[slot] = copy;
    let to = this.address + (start % capacity);
    copy.describe(to, bytes);
    copy.checksum = frame.checksum;
    copy.segmentation = frame.segmentation;
    copy.segmentBytes = frame.segmentBytes;
    copy.holders = 1;
    for (let part: Frame | null = frame; part !== null; part = part.next) {
      memory.copy(to, part.address, part.length);
      to += part.length;
    }
    this.starts[slot] = this.head;
    this.expiries[slot] = expiry;
    this.head = Math.ceil((start + bytes) / ALIGN) * ALIGN;
    this.pushed++;
    return true;
  }

  /** The oldest frame, which stays; there is one. */
  peek(): Frame {
    return this.frames[this.taken % this.frames.length]!;
  }

  /** The oldest frame leaves; its bytes stay until the last holder releases it. */
  shift(): void {
    const frame = this.peek();
    this.taken++;
    frame.release();
  }

  /**
   * A frame was released for the last time. One that is dropped may be home before one that was taken earlier and
   * still waits for its copy; both are home before the next push, which is all that counts.
   */
  private cameHome(): void {
    this.returned++;
    this.refused = Infinity;
    this.tail = this.returned === this.pushed ? this.head : this.starts[this.returned % this.frames.length]!;
  }

  /** Gives the pages back; nothing may be out. */
  close(): void {
    this.pages.free(this.address);
  }
}
