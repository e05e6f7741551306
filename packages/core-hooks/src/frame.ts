/**
 * A frame: one Ethernet frame, or one large segment that a NIC cuts later, on its way through a driver.
 *
 * Frames are made once, with their pool, and handed round by reference; nothing is allocated per packet.
 * Whoever wants a frame beyond the call that brought it holds it (`hold`) and releases it later; at the
 * last release its pool takes it back. Used by both drivers, the NIC's driver, ports and plugins.
 */
import type { Address } from './memory.js';

/** What is known about a frame's transport checksum. */
export const Checksum = {
  /** Nobody looked. */
  unknown: 0,
  /** Verified by hardware, or never left this machine (netif: `data_validated`). */
  good: 1,
  /** Verified and wrong. */
  bad: 2,
  /** Only the pseudo header is summed; whoever puts the frame on a wire fills it in (netif: `csum_blank`). */
  blank: 3,
} as const;
/** One of {@link Checksum}. */
export type Checksum = (typeof Checksum)[keyof typeof Checksum];

/** How a large segment is to be cut. The numbers are netif.h's `XEN_NETIF_GSO_TYPE_*`. */
export const Segmentation = { none: 0, tcpv4: 1, tcpv6: 2 } as const;
/** One of {@link Segmentation}. */
export type Segmentation = (typeof Segmentation)[keyof typeof Segmentation];

/**
 * The frames of one owner that nobody holds. Last in, first out: memory that was just used is used again.
 *
 * One class for every owner and no method to override, because each frame ends here: a call that looked different
 * for each owner costs a lookup per frame. An owner that wants to know sets {@link onHome}.
 *
 * @example
 * ```ts
 * const free = new FreeFrames();
 * free.put(new Frame(free, 0, 0x10000, 2048));
 * const frame = free.take();            // held by nobody yet
 * ```
 */
export class FreeFrames<F extends Frame = Frame> {
  /** How many are here. */
  count = 0;
  /** Told of each frame that comes home, when it is here already; null while nobody wants to know. */
  onHome: (() => void) | null = null;
  private readonly frames: F[] = [];

  /** Takes a frame that nobody holds; its fragments after it are no longer of it. */
  put(frame: F): void {
    frame.next = null;
    this.frames[this.count++] = frame;
    if (this.onHome !== null) this.onHome();
  }

  /** The frame that came home last, or null when all are out. Its taker sets `holders`. */
  take(): F | null {
    return this.count === 0 ? null : this.frames[--this.count]!;
  }
}

/**
 * One fragment of a frame; the head carries what concerns the whole.
 *
 * Invariants: `length` bytes at `address` are readable while the frame is held; `totalBytes` of the head is
 * the sum of `length` over the chain; a segmented frame (`segmentation` not none) has `segmentBytes` > 0 and
 * its checksum is {@link Checksum.blank}.
 */
export class Frame {
  /** First byte of this fragment. */
  address: Address = 0;
  /** Bytes in this fragment. */
  length = 0;
  /** Bytes of the whole chain, Ethernet header included; meaningful on the head only. */
  totalBytes = 0;
  /** State of the transport checksum; head only. */
  checksum: Checksum = Checksum.unknown;
  /** How it is to be cut; head only. */
  segmentation: Segmentation = Segmentation.none;
  /** Payload bytes of each segment (TCP's MSS); head only; 0 when it is not segmented. */
  segmentBytes = 0;
  /** The next fragment, or null. */
  next: Frame | null = null;
  /** A word for whoever has the frame in hand: a ring id, a descriptor id, a flow bucket. */
  tag = 0;
  /** How many hold it. Read it; change it by {@link hold} and {@link release} only. */
  holders = 0;

  /**
   * @param free where it goes at the last release.
   * @param index the owner's own number for it, fixed for life.
   * @param home where its buffer begins, or 0 for a frame without a buffer of its own.
   * @param capacity bytes of that buffer.
   */
  constructor(
    private readonly free: FreeFrames,
    readonly index: number,
    readonly home: Address,
    readonly capacity: number,
  ) {}

  /** One more holder. */
  hold(): void {
    this.holders++;
  }

  /** One holder less; at the last one the owner takes the frame back. */
  release(): void {
    if (--this.holders === 0) this.free.put(this);
    else if (this.holders < 0) throw new FrameReleasedTwiceError(this.index);
  }

  /** Makes it an ordinary frame of `length` bytes at `address`: unknown checksum, one fragment, not segmented. */
  describe(address: Address, length: number): void {
    this.address = address;
    this.length = length;
    this.totalBytes = length;
    this.checksum = Checksum.unknown;
    this.segmentation = Segmentation.none;
    this.segmentBytes = 0;
    this.next = null;
  }
}

/** A frame was released more often than it was held: our own mistake, never a peer's. */
export class FrameReleasedTwiceError extends Error {
  /** Stable code for programs. */
  readonly code = 'FRAME_RELEASED_TWICE';
  /** @param index the owner's number of the frame. */
  constructor(index: number) {
    super(
      `frame ${index} was released by someone who did not hold it; ` +
        `expected one release() for each hold() or allocate(); look for a second release on that path`,
    );
    this.name = 'FrameReleasedTwiceError';
  }
}

/**
 * A fixed number of frames over one range of memory, `capacity` bytes each.
 *
 * @example
 * ```ts
 * const pool = new FramePool(4, 0x10000, 2048);
 * const frame = pool.allocate();        // held once, or null when all are out
 * frame?.describe(frame.home, 60);
 * frame?.release();
 * console.log(pool.free);               // 4
 * ```
 */
export class FramePool {
  /** Every frame of the pool by its index. */
  readonly frames: readonly Frame[];
  private readonly home = new FreeFrames();

  /**
   * @param count frames in the pool.
   * @param address start of `count * stride` bytes that the caller owns for the pool's life.
   * @param capacity usable bytes of each frame's buffer.
   * @param stride bytes from one buffer to the next; `capacity` when left out.
   */
  constructor(
    readonly count: number,
    address: Address,
    capacity: number,
    stride: number = capacity,
  ) {
    const { home } = this;
    this.frames = Array.from({ length: count }, (_, i) => new Frame(home, i, address + i * stride, capacity));
    for (let i = count - 1; i >= 0; i--) home.put(this.frames[i]!);
  }

  /** Frames that nobody holds. */
  get free(): number {
    return this.home.count;
  }

  /** {@inheritDoc FreeFrames.onHome} */
  set onHome(handler: (() => void) | null) {
    this.home.onHome = handler;
  }

  /** A frame held once by the caller, described as empty at its home; null when all are out. */
  allocate(): Frame | null {
    const frame = this.home.take();
    if (frame === null) return null;
    frame.holders = 1;
    frame.describe(frame.home, 0);
    return frame;
  }
}

/** Where frames go: a guest's stack, a bridge, a port. */
export interface FrameSink {
  /**
   * One frame. It is the sink's to read until the call returns; a sink that wants it longer holds it,
   * chain and all. The sink never changes its bytes.
   */
  deliver(frame: Frame): void;
  /** The batch is over: publish and notify now. */
  flush(): void;
}

/** Holds every fragment of a chain. */
export function holdChain(head: Frame): void {
  for (let f: Frame | null = head; f !== null; f = f.next) f.hold();
}

/** Releases every fragment of a chain. A reclaimed fragment's `next` is gone, so it is read first. */
export function releaseChain(head: Frame): void {
  for (let f: Frame | null = head; f !== null;) {
    const next: Frame | null = f.next;
    f.release();
    f = next;
  }
}
