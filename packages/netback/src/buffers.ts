/**
 * The buffers that a guest's packets are copied into: two frame pools of one vif, small and large.
 *
 * Pools are the vif's own, so a guest that fills them starves nobody else. A buffer may stay out for as long
 * as the network needs it (a NIC that reads it later); its pages are given back when the last one is home.
 */
import { FramePool, PAGE_BYTES } from '@netaccel/core-hooks';
import type { Address, Frame } from '@netaccel/core-hooks';
import type { PageAllocator } from '@netaccel/xen';
import { MAX_PACKET_BYTES } from '@netaccel/xen/netif';
import type { Limits } from './limits.js';

/** Bytes of a small buffer: an Ethernet frame of the usual mtu. */
export const SMALL_BUFFER_BYTES = 2048;
/** Bytes of a large buffer: the longest packet of the protocol. */
export const LARGE_BUFFER_BYTES = MAX_PACKET_BYTES + 1;
/**
 * Small buffers lie a cache line more than their size apart: at a power of two, the heads of a batch of short
 * frames would all fall into the same few sets of the first-level cache.
 */
const SMALL_STRIDE_BYTES = SMALL_BUFFER_BYTES + 64;

/** The two pools, over pages of this domain. */
export class TransmitBuffers {
  /** Called once each time a frame comes home after {@link wanted}. */
  onHome: () => void = () => undefined;
  private readonly small: FramePool;
  private readonly large: FramePool;
  private readonly address: Address;

  /** @throws MachineError `NO_MEMORY`. */
  constructor(
    private readonly pages: PageAllocator,
    limits: Limits,
  ) {
    const smallBytes = Math.ceil((limits.smallBuffers * SMALL_STRIDE_BYTES) / PAGE_BYTES) * PAGE_BYTES;
    this.address = pages.allocate((smallBytes + limits.largeBuffers * LARGE_BUFFER_BYTES) / PAGE_BYTES);
    this.small = new FramePool(limits.smallBuffers, this.address, SMALL_BUFFER_BYTES, SMALL_STRIDE_BYTES);
    this.large = new FramePool(limits.largeBuffers, this.address + smallBytes, LARGE_BUFFER_BYTES);
  }

  /** Frames that are out. */
  get out(): number {
    return this.small.count - this.small.free + this.large.count - this.large.free;
  }

  /** A frame with room for `bytes` that is held once by the caller and described as empty; or null. */
  allocate(bytes: number): Frame | null {
    return (bytes <= SMALL_BUFFER_BYTES ? this.small.allocate() : null) ?? this.large.allocate();
  }

  /** The next frame that comes home is announced. */
  wanted(): void {
    this.listen(() => {
      this.listen(null);
      this.onHome();
    });
  }

  /**
   * No more frames are taken; the pages go back when the last frame is home.
   * @returns resolves then; at once when all are home.
   */
  retire(): Promise<void> {
    return new Promise((resolve) => {
      const look = () => {
        if (this.out > 0) return;
        this.listen(null);
        this.pages.free(this.address);
        resolve();
      };
      this.listen(look);
      look();
    });
  }

  private listen(listener: (() => void) | null): void {
    this.small.onHome = listener;
    this.large.onHome = listener;
  }
}
