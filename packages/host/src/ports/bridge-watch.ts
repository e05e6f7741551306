/**
 * Copies frames off a bridge, for a capture: in the driver domain's thread, in batches for whoever writes them.
 *
 * Frames are copied as they pass and posted a few milliseconds later; what does not fit in a batch is counted as
 * lost. Owned by the driver domain's programs; without a capture it watches nothing and costs nothing.
 */
import type { Frame } from '@netaccel/core-hooks';
import type { Domain } from '@netaccel/xen';
import type { Bridge } from './bridge.js';

/** What to watch: names of bridge ports. */
export interface WatchedPorts {
  /** Frames that come in by these ports; null for all ports. */
  readonly into: readonly string[] | null;
  /** Frames that go out by these ports. */
  readonly outOf: readonly string[];
}

/** Frames that passed; plain data, for `postMessage`. */
export interface FrameBatch {
  /** Bridge ports that the frames name. */
  readonly ports: readonly string[];
  /** How many frames. */
  readonly count: number;
  /** When each passed, microseconds. */
  readonly times: Float64Array;
  /** Bytes that each had. */
  readonly lengths: Uint32Array;
  /** Which port, an index; plus `OUTGOING` when it went out by it. */
  readonly places: Uint16Array;
  /** Their bytes, one after the other. */
  readonly bytes: Uint8Array;
  /** Frames that were not copied since the last batch. */
  readonly lost: number;
}

/** Of a frame's place: it went out of the bridge. */
export const OUTGOING = 0x8000;

const BATCH_FRAMES = 8192;
const BATCH_BYTES = 4 * 1024 * 1024;
const BATCH_MS = 5;

/** The watch of one bridge. */
export class BridgeWatch {
  private readonly names: string[] = [];
  private into: ReadonlySet<string> | null = new Set();
  private watchedOut: readonly string[] = [];
  private times = new Float64Array(0);
  private lengths = new Uint32Array(0);
  private places = new Uint16Array(0);
  private bytes = new Uint8Array(0);
  private count = 0;
  private used = 0;
  private lost = 0;
  private cancel: (() => void) | null = null;

  /**
   * @param domain where the bridge is.
   * @param clock microseconds.
   * @param post takes a batch; its buffers are its own from then on.
   */
  constructor(
    private readonly domain: Domain,
    private readonly bridge: Bridge,
    private readonly clock: () => number,
    private readonly post: (batch: FrameBatch) => void,
  ) {}

  /** Watches these ports from now on, and no others; null ends it. */
  watch(ports: WatchedPorts | null): void {
    for (const name of this.watchedOut) this.bridge.observeOutput(name, undefined);
    this.watchedOut = ports?.outOf ?? [];
    this.into = ports === null ? new Set() : ports.into === null ? null : new Set(ports.into);
    this.bridge.observe(
      ports === null
        ? undefined
        : (frame, from) => {
            if (this.into === null || this.into.has(from)) this.take(frame, this.placeOf(from));
          },
    );
    for (const name of this.watchedOut) {
      const place = this.placeOf(name) | OUTGOING;
      this.bridge.observeOutput(name, (frame) => {
        this.take(frame, place);
      });
    }
    if (ports === null) this.send();
  }

  private placeOf(name: string): number {
    const known = this.names.indexOf(name);
    return known >= 0 ? known : this.names.push(name) - 1;
  }

  private take(frame: Frame, place: number): void {
    if (this.bytes.length === 0) this.begin();
    const length = frame.totalBytes;
    if (this.count === BATCH_FRAMES || this.used + length > BATCH_BYTES) {
      this.lost++;
      return;
    }
    const { bytes } = this.domain.memory;
    for (let part: Frame | null = frame; part !== null; part = part.next) {
      this.bytes.set(bytes.subarray(part.address, part.address + part.length), this.used);
      this.used += part.length;
    }
    this.times[this.count] = this.clock();
    this.lengths[this.count] = length;
    this.places[this.count] = place;
    this.count++;
    this.cancel ??= this.domain.loop.after(BATCH_MS, () => {
      this.cancel = null;
      this.send();
    });
  }

  private begin(): void {
    this.times = new Float64Array(BATCH_FRAMES);
    this.lengths = new Uint32Array(BATCH_FRAMES);
    this.places = new Uint16Array(BATCH_FRAMES);
    this.bytes = new Uint8Array(BATCH_BYTES);
    this.count = this.used = 0;
  }

  private send(): void {
    this.cancel?.();
    this.cancel = null;
    if (this.count === 0 && this.lost === 0) return;
    // Copies of what is used: the big buffers stay here for the next batch.
    this.post({
      ports: [...this.names],
      count: this.count,
      times: this.times.slice(0, this.count),
      lengths: this.lengths.slice(0, this.count),
      places: this.places.slice(0, this.count),
      bytes: this.bytes.slice(0, this.used),
      lost: this.lost,
    });
    this.count = this.used = this.lost = 0;
  }
}
