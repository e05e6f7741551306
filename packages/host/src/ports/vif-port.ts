/**
 * A vif's port of its host's bridge: the way from the bridge to netback, which can be held while the guest is away.
 *
 * Open, a frame goes straight through. Held, frames for the guest are kept in order, the bridge leads all of them here
 * whatever it learns meanwhile, and a guest's old port answers each announcement of its new one with a farewell: on one
 * path of bridges nothing that was sent before either comes after it.
 *
 * Group frames come to both ports of a guest on its way, and one of them keeps them: the old one until it says
 * farewell, the new one what comes behind that. Owned by the vif desk.
 */
import { PAGE_BYTES, FramePool } from '@netaccel/core-hooks';
import type { Address, Frame, FrameSink } from '@netaccel/core-hooks';
import type { Limits, Netback } from '@netaccel/netback';
import { macHigh, macLow } from '@netaccel/nic-vi';
import { MachineError } from '@netaccel/xen';
import type { Domain } from '@netaccel/xen';
import { announcementOf, farewellOf, isSaid } from './announcement.js';
import type { Bridge, BridgePort } from './bridge.js';
import { HeldFrames } from './held-frames.js';
import type { HeldFrame } from './held-frames.js';

const GROUP_BIT = 1;
/** Buffers from which held frames are delivered, each as large as any frame. */
const BUFFERS = 16;
const BUFFER_PAGES = 17;
/** Of what netback lets wait for a guest: so much is delivered before the guest gets time to take it. */
const BATCH_SHARE = 0.5;
/** How long the guest may take to empty its ring before the next batch is delivered all the same. */
const DRAIN_MS = 1000;

/** Tries to get memory for held frames, and the pause between two. */
const MEMORY_TRIES = 50;
const MEMORY_PAUSE_MS = 10;

/** Counters of a vif's port. */
export interface VifPortStatistics {
  /** Frames that waited while the port was held. */
  held: number;
  /** Frames that came while it was held and full: lost. */
  holdFull: number;
  /** Group frames that were not this port's to keep, but the guest's other one's on its way to or from there. */
  holdGroup: number;
  /** Frames that waited when the port was closed, with nobody to deliver them to: lost. */
  holdAbandoned: number;
  /** Frames that came while there was no vif behind the port, and that was not known: lost. */
  unplugged: number;
}

/** All zero. */
export function noVifPortStatistics(): VifPortStatistics {
  return { held: 0, holdFull: 0, holdGroup: 0, holdAbandoned: 0, unplugged: 0 };
}

/** What netback lets wait per queue of a vif. */
export type Backlog = Pick<Limits, 'backlogFrames' | 'backlogBytes'>;

/**
 * Why a port is held. `paused`: the guest comes back to it. `leaving`: it goes to another host. `expected`: it comes
 * from one.
 */
export type Hold = 'paused' | 'leaving' | 'expected';

/** The port. */
export class VifPort implements FrameSink {
  /** The vif, or null before it serves and after it is gone. */
  vif: Netback | null = null;
  /** Counters. */
  readonly statistics = noVifPortStatistics();
  private held: HeldFrames | null = null;
  private leaving = false;
  /** Whether group frames are this port's to keep. */
  private groups = true;
  /** Of what waits: the frames that came before the guest went and came back. */
  private before = 0;
  /** Farewells of the guest's other port since it is expected here. */
  private farewells = 0;
  private readonly waiting = new Set<() => void>();
  private readonly whenSettled: (() => void)[] = [];
  private readonly port: BridgePort;
  // Known from the first hold on: what is said of the guest's address, and its two words in a bridge's table.
  private announcement: Uint8Array = new Uint8Array(0);
  private farewell: Uint8Array = new Uint8Array(0);
  private high = 0;
  private low = 0;

  /**
   * @param domain the driver domain.
   * @param bridge what it is a port of.
   * @param name its name there.
   * @param backlog what netback lets wait for the guest.
   * @param sayFarewell sends the guest's farewell in by this port: its group frames are its new port's from there on.
   */
  constructor(
    private readonly domain: Domain,
    private readonly bridge: Bridge,
    readonly name: string,
    private readonly backlog: Backlog,
    private readonly sayFarewell: (port: VifPort, farewell: Uint8Array) => void,
  ) {
    this.port = bridge.attach(name, this);
  }

  /** Frames from the guest into the bridge. */
  get input(): FrameSink {
    return this.port.input;
  }

  /** Frames that wait. */
  get waitingFrames(): number {
    return this.held?.length ?? 0;
  }

  /** A frame for the guest. */
  deliver(frame: Frame): void {
    if (this.held !== null) this.keep(frame, this.held);
    else if (this.vif !== null) this.vif.deliver(frame);
    else this.statistics.unplugged++;
  }

  /** The batch is over. */
  flush(): void {
    if (this.held === null) this.vif?.flush();
  }

  /**
   * From here on frames wait.
   * @param mac the guest's address: the bridge leads its frames here, whatever it learns.
   * @param why what becomes of the guest.
   */
  hold(mac: Uint8Array, why: Hold): void {
    this.held ??= new HeldFrames(this.domain.memory);
    this.leaving = why === 'leaving';
    if (why === 'expected') this.groups = false;
    this.announcement = announcementOf(mac);
    this.farewell = farewellOf(mac);
    this.high = macHigh(mac, 0);
    this.low = macLow(mac, 0);
    this.bridge.pin(this.high, this.low, this.port);
  }

  /**
   * The guest that had left is back: what other ports held for it belongs between what waits now and what comes. Its
   * group frames are still this port's, or become so with the other one's farewell.
   */
  returned(): void {
    this.leaving = false;
    this.before = this.waitingFrames;
  }

  /** Resolves when `count` farewells have come from the port where an expected guest was: whether in time. */
  answered(count: number, withinMs: number): Promise<boolean> {
    return new Promise((resolve) => {
      const look = (): void => {
        if (this.farewells < count) return;
        end(true);
      };
      const end = (inTime: boolean): void => {
        cancel();
        this.waiting.delete(look);
        resolve(inTime);
      };
      const cancel = this.domain.loop.after(withinMs, () => {
        end(false);
      });
      this.waiting.add(look);
      look();
    });
  }

  /** The guest is elsewhere for good: what waits leaves, and the port goes. */
  leave(): HeldFrame[] {
    const frames = this.held?.take() ?? [];
    this.close();
    return frames;
  }

  /**
   * The guest is here: what waits is delivered, what another port held in its place in between, then the port is open.
   * What came is never overtaken.
   * @param earlier frames that another port held before this one, or while the guest was gone from this one.
   */
  async open(earlier: readonly HeldFrame[]): Promise<void> {
    const { held } = this;
    if (held === null) return;
    held.insert(this.before, earlier);
    this.before = 0;
    const address = await this.allocate();
    if (address === null) this.statistics.holdAbandoned += held.take().length;
    else {
      const pool = new FramePool(BUFFERS, address, BUFFER_PAGES * PAGE_BYTES);
      while (this.release(held, pool) || pool.free < BUFFERS) await this.drained();
      this.domain.pages.free(address);
    }
    this.bridge.unpin(this.high, this.low);
    this.held = null;
    this.farewells = 0;
    this.leaving = false;
    this.groups = true;
    this.tellSettled();
  }

  /**
   * Resolves when nothing is kept back: at once, or when the port is open again or gone. What is kept for a guest that
   * leaves goes after it to its new host: its plugin here, which has to be done before it can leave, waits for none of it.
   */
  settled(): Promise<void> {
    return this.held === null || this.leaving
      ? Promise.resolve()
      : new Promise((resolve) => void this.whenSettled.push(resolve));
  }

  /** Takes the port off the bridge. Idempotent. */
  close(): void {
    this.vif = null;
    if (this.held !== null) this.bridge.unpin(this.high, this.low);
    this.statistics.holdAbandoned += this.waitingFrames;
    this.held = null;
    this.tellSettled();
    this.port.detach();
  }

  /** Memory for held frames on their way out; null when there is none for a while: then they are lost and counted. */
  private async allocate(): Promise<Address | null> {
    const { loop, pages } = this.domain;
    for (let tries = MEMORY_TRIES; tries > 0; tries--)
      try {
        return pages.allocate(BUFFERS * BUFFER_PAGES);
      } catch (error) {
        if (!(error instanceof MachineError)) throw error;
        await new Promise<void>((resolve) => void loop.after(MEMORY_PAUSE_MS, resolve));
      }
    return null;
  }

  private tellSettled(): void {
    for (const resolve of this.whenSettled.splice(0)) resolve();
  }

  /** Delivers a batch of what waits; whether there is more. */
  private release(held: HeldFrames, pool: FramePool): boolean {
    const { backlogFrames, backlogBytes } = this.backlog;
    const most = backlogFrames * BATCH_SHARE;
    let bytes = 0;
    for (let n = 0; n < most && bytes < backlogBytes * BATCH_SHARE && held.length > 0; n++) {
      if (pool.free === 0) this.vif?.flush();
      const frame = pool.allocate();
      if (frame === null) break;
      if (held.shift(frame)) {
        bytes += frame.length;
        if (this.vif === null) this.statistics.unplugged++;
        else this.vif.deliver(frame);
      }
      frame.release();
    }
    this.vif?.flush();
    return held.length > 0;
  }

  /** Resolves when what was delivered is on the guest's ring; a guest that does not take it is not waited for long. */
  private async drained(): Promise<void> {
    const { loop } = this.domain;
    await new Promise<void>((resolve) => {
      const cancel = loop.after(DRAIN_MS, resolve);
      const over = (): void => {
        cancel();
        resolve();
      };
      (this.vif?.fence() ?? Promise.resolve([])).then(over, over);
    });
  }

  private keep(frame: Frame, held: HeldFrames): void {
    const { bytes } = this.domain.memory;
    if ((bytes[frame.address]! & GROUP_BIT) !== 0) {
      if (isSaid(bytes, frame, this.announcement)) {
        if (!this.leaving) return;
        this.groups = false;
        this.sayFarewell(this, this.farewell);
        return;
      }
      if (isSaid(bytes, frame, this.farewell)) {
        if (this.leaving) return;
        this.groups = true;
        this.farewells++;
        for (const look of [...this.waiting]) look();
        return;
      }
      if (!this.groups) {
        this.statistics.holdGroup++;
        return;
      }
    }
    if (held.push(frame)) this.statistics.held++;
    else this.statistics.holdFull++;
  }
}
