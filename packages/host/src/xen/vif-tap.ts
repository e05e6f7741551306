/**
 * The network side of one vif: a TAP. The guest's frames are written to it; what the kernel's network sends by it
 * goes to the guest. Large segments and blank checksums pass as they are, both ways. TCP segments that come in one
 * batch are joined, for each write costs the kernel a wake-up of the receiver; joined, they cost one.
 *
 * Made by a network (networks.ts) for `NetbackDriver`, which attaches and detaches the vif. It owns the TAP and the
 * buffers that frames are read into; a frame is the vif's until its guest has taken it, so reading pauses while all
 * buffers are out, and the kernel's queue takes the rest.
 */
import { FramePool, PAGE_BYTES } from '@netaccel/core-hooks';
import type { Frame, FrameSink } from '@netaccel/core-hooks';
import { MERGE_MAX_FRAGMENTS, ReceiveMerger } from '@netaccel/nic-vi';
import type { Netback, VifNetwork } from '@netaccel/netback';
import type { Domain } from '@netaccel/xen';
import { TapPort } from '../ports/tap-port.js';
import { TapDevice } from '../tap/index.js';
import type { Libc } from '../tap/index.js';
import type { Transmitter } from '../traffic/transmitter.js';
import { wireFrames } from './network.js';
import type { Traffic } from './network.js';

const SMALL_BYTES = 2048;
const SMALL_COUNT = 512;
/** Room for any frame of a TAP, in whole pages. */
const LARGE_BYTES = 17 * PAGE_BYTES;
const LARGE_COUNT = 32;

/** A descriptor that is looked after: the part of a native loop's interest used here. */
export interface Readable {
  pause(): void;
  resume(): void;
  close(): void;
}

/** Looks after a descriptor: a native domain's `loop.whenReadable`. */
export type WhenReadable = (descriptor: number, handler: () => void) => Readable;

/** A TAP that is open, and how to remove it. */
export interface OpenTap {
  readonly name: string;
  readonly descriptor: number;
  /** Removes the interface. */
  close(): void;
}

/** One vif's TAP. */
export class VifTap implements VifNetwork, Transmitter {
  /** Gets the guest's frames. */
  readonly sink: FrameSink;
  /** Times that reading paused because the guest had all buffers. */
  rxPauses = 0;
  private readonly device: TapDevice;
  private readonly port: TapPort;
  private readonly merger: ReceiveMerger;
  private readonly small: FramePool;
  private readonly large: FramePool;
  private readonly pages: number[];
  private readonly readable: Readable;
  private vif: Netback | null = null;
  private closed = false;

  /**
   * @param traffic what passes is counted here.
   * @param onClosed told when it is closed.
   * @throws MachineError `NO_MEMORY`; the TAP is closed then.
   */
  constructor(
    private readonly domain: Domain,
    libc: Libc,
    private readonly tap: OpenTap,
    whenReadable: WhenReadable,
    private readonly traffic: Traffic,
    private readonly onClosed: (tap: VifTap) => void,
  ) {
    try {
      const small = domain.pages.allocate((SMALL_COUNT * SMALL_BYTES) / PAGE_BYTES);
      this.pages = [small];
      const large = domain.pages.allocate((LARGE_COUNT * LARGE_BYTES) / PAGE_BYTES);
      this.pages.push(large);
      this.small = new FramePool(SMALL_COUNT, small, SMALL_BYTES);
      this.large = new FramePool(LARGE_COUNT, large, LARGE_BYTES);
    } catch (error) {
      tap.close();
      throw error;
    }
    // Netback hands frames over in one piece.
    this.device = new TapDevice(libc, tap, domain.memory.bytes, MERGE_MAX_FRAGMENTS);
    this.port = new TapPort(domain.memory, this.device, this);
    this.merger = new ReceiveMerger(domain.memory, {
      deliver: (frame) => {
        this.port.deliver(frame);
        traffic.systemCalls++;
      },
      flush: () => undefined,
    });
    this.sink = {
      deliver: (frame) => {
        this.count(frame);
        this.merger.push(frame);
      },
      flush: () => {
        this.merger.flush();
      },
    };
    this.readable = whenReadable(tap.descriptor, () => {
      this.read();
    });
    // Nothing is read before there is a vif: the kernel's queue keeps it.
    this.readable.pause();
  }

  /** Name of the interface. */
  get name(): string {
    return this.tap.name;
  }

  attach(vif: Netback): void {
    this.vif = vif;
    this.readable.resume();
  }

  /** Nothing is delivered from now on; the interface goes once the guest's frames can no more come. */
  detach(): void {
    this.vif = null;
    if (this.closed) return;
    this.closed = true;
    this.readable.close();
    this.port.close();
    this.tap.close();
    this.freeWhenHome();
    this.onClosed(this);
  }

  /** {@inheritDoc Transmitter.allocate} */
  allocate(bytes: number): Frame | null {
    return (bytes <= SMALL_BYTES ? this.small.allocate() : null) ?? this.large.allocate();
  }

  /** {@inheritDoc Transmitter.startXmit} */
  startXmit(frame: Frame, _more: boolean): boolean {
    if (this.vif !== null) {
      this.count(frame);
      this.vif.deliver(frame);
    }
    frame.release();
    return true;
  }

  /** {@inheritDoc Transmitter.flush} */
  flush(): void {
    this.vif?.flush();
  }

  /** Its state, for people. */
  describe(): Readonly<Record<string, unknown>> {
    const { device, port, merger } = this;
    return {
      name: this.name,
      rxPauses: this.rxPauses,
      ...device.statistics,
      ...port.statistics,
      ...merger.statistics,
    };
  }

  private read(): void {
    if (this.closed) return;
    const before = this.device.calls;
    this.port.poll();
    this.traffic.systemCalls += this.device.calls - before;
    if (this.device.failed) {
      this.domain.log('error', `${this.name}: the interface is gone: ${this.device.statistics.lastRefusal}`);
      this.readable.pause();
    } else if (this.port.stopped) this.waitForBuffer();
  }

  private count(frame: Frame): void {
    const { traffic } = this;
    traffic.frames++;
    traffic.wireFrames += wireFrames(frame);
    traffic.bytes += frame.totalBytes;
  }

  private waitForBuffer(): void {
    this.rxPauses++;
    this.readable.pause();
    this.large.onHome = () => {
      this.large.onHome = null;
      if (!this.closed) this.readable.resume();
    };
  }

  /** Frames may still wait in the vif's backlog: their pages go back with the last of them. */
  private freeWhenHome(): void {
    const look = (): void => {
      if (this.small.free < SMALL_COUNT || this.large.free < LARGE_COUNT) return;
      this.small.onHome = this.large.onHome = null;
      for (const address of this.pages.splice(0)) this.domain.pages.free(address);
    };
    this.small.onHome = this.large.onHome = look;
    look();
  }
}
