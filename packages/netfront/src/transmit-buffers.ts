/**
 * The memory that outgoing frames lie in: two sizes of buffers in pages that are granted to the backend, read
 * only, once for the life of a connection. So a frame costs no grant operation, and a plugin's device can be
 * shown all of it.
 *
 * Made by the connection. The stack allocates from it; frames come home when the path that took them is done.
 * A buffer that the stack still holds when the connection ends keeps the pages: they go with the last one.
 */
import { Frame, FreeFrames, PAGE_BYTES, Segmentation, releaseChain } from '@netaccel/core-hooks';
import type { Address, Memory, SharedPages } from '@netaccel/core-hooks';
import { MAX_PACKET_BYTES } from '@netaccel/xen/netif';
import type { Domain, DomainId } from '@netaccel/xen';

/** How many buffers of each size. */
export interface TransmitBufferOptions {
  /** Buffers for ordinary frames. */
  readonly small: number;
  /** Bytes of each. Its place is a power of two up to a page, or whole pages, so that a frame takes few slots. */
  readonly smallBytes: number;
  /** Buffers for segments that are cut later. */
  readonly large: number;
}

/** Bytes of a large buffer: the longest packet, with a page to spare for headers that a stack puts before it. */
export const LARGE_BUFFER_BYTES = Math.ceil(MAX_PACKET_BYTES / PAGE_BYTES) * PAGE_BYTES + PAGE_BYTES;
const LARGE_PAGES = LARGE_BUFFER_BYTES / PAGE_BYTES;

const CACHE_LINE_BYTES = 64;
const MOST_COLOURS = 8;

/** Bytes from one small buffer's place to the next: a power of two up to a page, or whole pages. */
function strideOf(bytes: number): number {
  if (bytes > PAGE_BYTES) return Math.ceil(bytes / PAGE_BYTES) * PAGE_BYTES;
  let stride = CACHE_LINE_BYTES;
  while (stride < bytes) stride *= 2;
  return stride;
}

/** Most buffers of a connection: their numbers are part of the ids on the ring. */
export const MOST_BUFFERS = 2048;

/** Where a buffer's frame is. */
export const Place = {
  /** Free, or with the stack. */
  stack: 0,
  /** Being offered to the plugin at this moment. */
  offered: 1,
  /** Taken by the plugin. */
  fast: 2,
  /** Kept here until it can be sent. */
  kept: 3,
  /** On the transmit ring of queue 0; of queue n: this + n. */
  slow: 4,
} as const;

/** The frame of a transmit buffer, with what the driver must know of it while it is under way. */
export class TransmitFrame extends Frame {
  /** One of {@link Place}. */
  place: number = Place.stack;
  /** Flow bucket. */
  bucket = 0;
  /** Slots of it that the backend has not answered, as bits. */
  pending = 0;

  /**
   * @param free where it goes at the last release.
   * @param index its number.
   * @param home where its buffer begins.
   * @param capacity bytes of the buffer.
   * @param ref grant of the page that the whole buffer lies in, or 0 when it is larger than that.
   */
  constructor(
    free: FreeFrames,
    index: number,
    home: Address,
    capacity: number,
    readonly ref: number,
  ) {
    super(free, index, home, capacity);
  }
}

/** Whether a frame is one piece within its own buffer, and that within one page: one slot, of a known grant. */
export function isPlain(frame: TransmitFrame): boolean {
  return (
    frame.next === null &&
    frame.segmentation === Segmentation.none &&
    frame.ref !== 0 &&
    frame.address >= frame.home &&
    frame.address + frame.length <= frame.home + frame.capacity
  );
}

/** The transmit memory of one connection. */
export class TransmitBuffers {
  /** The pages, as a plugin sees them. */
  readonly shared: SharedPages;
  /** Every buffer's frame by its index: the small ones, then the large ones. */
  readonly frames: readonly TransmitFrame[];
  /** The longest frame that some buffer has room for within one page. */
  readonly pieceBytes: number;
  private readonly memory: Memory;
  private readonly smallBytes: number;
  private readonly first: Address;
  private readonly end: Address;
  private readonly small = new FreeFrames<TransmitFrame>();
  private readonly large = new FreeFrames<TransmitFrame>();
  private retired = false;

  /**
   * @param domain whose pages.
   * @param peer the backend's domain.
   * @param options how many.
   * @param clean clear each buffer before it is handed out: nothing of an earlier frame stays where an
   * untrusted backend could read it.
   * @param onReturn called when a buffer comes home and somebody waits for one.
   */
  constructor(
    domain: Domain,
    peer: DomainId,
    options: TransmitBufferOptions,
    private readonly clean: boolean,
    private readonly onReturn: () => void,
  ) {
    const { small, smallBytes, large } = options;
    if (small + large > MOST_BUFFERS)
      throw new RangeError(
        `transmit buffers: expected ${MOST_BUFFERS} at most, saw ${small} small and ${large} large`,
      );
    const stride = strideOf(smallBytes);
    // Buffers a power of two apart share a few sets of the cache, and their headers would push each other out:
    // each begins a few lines later than its neighbour, as far as there is room.
    const colours = Math.min(MOST_COLOURS, Math.floor((stride - smallBytes) / CACHE_LINE_BYTES) + 1);
    const smallPages = Math.ceil((small * stride) / PAGE_BYTES);
    this.memory = domain.memory;
    this.shared = domain.grants.share(peer, smallPages + large * LARGE_PAGES, 'read');
    this.first = this.shared.address;
    this.end = this.first + this.shared.pages * PAGE_BYTES;
    this.smallBytes = smallBytes;
    this.pieceBytes = large > 0 ? PAGE_BYTES : Math.min(smallBytes, PAGE_BYTES);
    const firstLarge = this.first + smallPages * PAGE_BYTES;
    this.frames = Array.from({ length: small + large }, (_, i) => {
      if (i >= small) {
        const home = firstLarge + (i - small) * LARGE_BUFFER_BYTES;
        return new TransmitFrame(this.large, i, home, LARGE_BUFFER_BYTES, 0);
      }
      const home = this.first + i * stride + (i % colours) * CACHE_LINE_BYTES;
      return new TransmitFrame(this.small, i, home, smallBytes, stride <= PAGE_BYTES ? this.refAt(home) : 0);
    });
    for (let i = small + large - 1; i >= 0; i--) (i < small ? this.small : this.large).put(this.frames[i]!);
  }

  /** Buffers that nobody holds. */
  get free(): { readonly small: number; readonly large: number } {
    return { small: this.small.count, large: this.large.count };
  }

  /** A buffer of at least `bytes`, held once, described as empty at its home; null when none is free. */
  allocate(bytes: number): TransmitFrame | null {
    let frame = bytes <= this.smallBytes ? this.small.take() : null;
    if (frame === null && bytes <= LARGE_BUFFER_BYTES) frame = this.large.take();
    if (frame === null) {
      if (!this.retired) this.listen(this.announce);
      return null;
    }
    frame.holders = 1;
    frame.describe(frame.home, 0);
    if (this.clean) this.memory.clear(frame.home, frame.capacity);
    return frame;
  }

  /** Whether `frame` is one of these buffers. */
  owns(frame: Frame): frame is TransmitFrame {
    return this.frames[frame.index] === frame;
  }

  /** Whether a fragment lies in the shared pages. */
  holds(fragment: Frame): boolean {
    return fragment.address >= this.first && fragment.address + fragment.length <= this.end;
  }

  /** Whether each fragment of a chain does. */
  holdsChain(head: Frame): boolean {
    for (let f: Frame | null = head; f !== null; f = f.next) if (!this.holds(f)) return false;
    return true;
  }

  /** The grant reference of the page that an address of these pages is in. */
  refAt(address: Address): number {
    return this.shared.refs[(address - this.first) >>> 12]!;
  }

  /** A copy of a chain in one piece, held once; null when no buffer is free. The chain stays the caller's. */
  gather(head: Frame): TransmitFrame | null {
    const copy = this.allocate(head.totalBytes);
    if (copy === null) return null;
    let at = 0;
    for (let f: Frame | null = head; f !== null && at + f.length <= copy.capacity; f = f.next) {
      this.memory.copy(copy.home + at, f.address, f.length);
      at += f.length;
    }
    copy.describe(copy.home, at);
    copy.checksum = head.checksum;
    copy.segmentation = head.segmentation;
    copy.segmentBytes = head.segmentBytes;
    return copy;
  }

  /** Gives a frame that was under way back to its holders: the last use that this driver has for it. */
  finish(frame: TransmitFrame): void {
    frame.place = Place.stack;
    if (frame.next === null) frame.release();
    else releaseChain(frame);
  }

  /** The connection is over: the pages go as soon as every buffer is home. */
  retire(): void {
    this.retired = true;
    this.listen(() => this.releaseWhenHome());
    this.releaseWhenHome();
  }

  /** Somebody was refused a buffer, and this is the first that comes home since. */
  private readonly announce = (): void => {
    this.listen(null);
    this.onReturn();
  };

  private listen(handler: (() => void) | null): void {
    this.small.onHome = this.large.onHome = handler;
  }

  private releaseWhenHome(): void {
    if (this.small.count + this.large.count === this.frames.length) this.shared.release();
  }
}
