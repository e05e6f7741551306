/**
 * A driver domain's own interface: a port of its bridge that something in the domain sends and receives by, as
 * `xenbr0` has an address on a real host. The native runs of the demo go this way.
 */
import { FramePool, PAGE_BYTES } from '@netaccel/core-hooks';
import type { Frame, FrameSink } from '@netaccel/core-hooks';
import type { Domain } from '@netaccel/xen';
import type { Transmitter } from '../traffic/transmitter.js';
import type { Bridge, BridgePort } from './bridge.js';

const SMALL_BYTES = 2048;
const SMALL_COUNT = 1024;
const LARGE_PAGES = 18;
const LARGE_COUNT = 64;

/** The interface. */
export class DomainInterface implements Transmitter {
  private readonly small: FramePool;
  private readonly large: FramePool;
  private readonly pages: number[];
  private readonly port: BridgePort;

  /**
   * @param domain whose interface it is.
   * @param bridge what it is a port of.
   * @param receiver gets the frames for it, and every flooded one.
   */
  constructor(
    private readonly domain: Domain,
    bridge: Bridge,
    receiver: FrameSink,
    name: string,
  ) {
    const small = domain.pages.allocate((SMALL_COUNT * SMALL_BYTES) / PAGE_BYTES);
    const large = domain.pages.allocate(LARGE_COUNT * LARGE_PAGES);
    this.pages = [small, large];
    this.small = new FramePool(SMALL_COUNT, small, SMALL_BYTES);
    this.large = new FramePool(LARGE_COUNT, large, LARGE_PAGES * PAGE_BYTES);
    this.port = bridge.attach(name, receiver);
  }

  /** Frames that are not home. */
  get framesOut(): number {
    return SMALL_COUNT - this.small.free + LARGE_COUNT - this.large.free;
  }

  /** {@inheritDoc Transmitter.allocate} */
  allocate(bytes: number): Frame | null {
    return bytes <= SMALL_BYTES ? this.small.allocate() : this.large.allocate();
  }

  /** {@inheritDoc Transmitter.startXmit} */
  startXmit(frame: Frame, more: boolean): boolean {
    this.port.input.deliver(frame);
    frame.release();
    if (!more) this.flush();
    return true;
  }

  /** {@inheritDoc Transmitter.flush} */
  flush(): void {
    this.port.input.flush();
  }

  /** Takes it off the bridge and gives its memory back. */
  close(): void {
    this.port.detach();
    for (const address of this.pages) this.domain.pages.free(address);
  }
}
