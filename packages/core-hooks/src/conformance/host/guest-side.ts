/**
 * The guest of the scripted host: what netfront is to a front half. It offers frames, polls, arms, keeps what was
 * answered busy, and watches every call: a throw, a verdict that is none, a frame that was touched, work beyond the
 * budget, a completion too many are breaches whichever check is running.
 */
import type { FrontendAccelerator, FrontendServices, VifIdentity } from '../../frontend.js';
import { Checksum, FramePool, Segmentation, holdChain, releaseChain } from '../../frame.js';
import type { Frame } from '../../frame.js';
import { PAGE_BYTES } from '../../memory.js';
import type { Registers, SharedPages } from '../../services.js';
import { Verdict, declined, reasonName } from '../../verdict.js';
import { snapshot, touched } from './snapshot.js';
import { commonServices } from './services.js';
import type { ServiceParts } from './services.js';

const FRAMES = 640;
const FRAME_BYTES = 2048;
const LARGE = 2;
const LARGE_PAGES = 18;
/** What completed frames are filled with: whoever still sends from them sends this. */
const REUSED = 0xee;
const BUDGET = 64;
const MOST_ROUNDS = 512;
/** Stands for the verdict of a hook that threw. */
const inactive = declined('inactive');

/** A frame that the guest's stack got. */
export interface Delivered {
  readonly bytes: Uint8Array;
  readonly path: 'fast' | 'slow';
  readonly checksum: Checksum;
  readonly segmentation: Segmentation;
  readonly segmentBytes: number;
}

/** How a frame is made. */
export interface FrameShape {
  readonly checksum?: Checksum;
  readonly segmentation?: Segmentation;
  readonly segmentBytes?: number;
  /** Lengths of its fragments; one when left out. The last takes what is left. */
  readonly cuts?: readonly number[];
}

/** What a vif adds. */
export interface FrontParts extends ServiceParts {
  readonly vif: VifIdentity;
  readonly ownReasons: readonly string[];
  /** Tells the device of a write, on machines where it sees it. */
  registerWritten(address: number): void;
}

/** One guest. */
export class GuestSide {
  /** The plugin's device while its hooks are live. */
  device: FrontendAccelerator | null = null;
  readonly services: FrontendServices;
  readonly pool: FramePool;
  readonly large: FramePool;
  readonly delivered: Delivered[] = [];
  /** Frames answered `sent` and not completed. */
  readonly inFlight = new Set<Frame>();
  /** Completions, wakes, polls asked for, and polls. */
  completions = 0;
  wakes = 0;
  asked = 0;
  polls = 0;
  /** The stack keeps what it is delivered. */
  keeping: Frame[] | null = null;
  /** Frames on the slow path towards the guest, and whether the guest takes them. */
  readonly slow: Uint8Array[] = [];
  slowHeld = false;
  /** Frames that entered and that left the slow path. */
  entered = 0;
  left = 0;
  /** Netfront is asked to poll, and does when the host runs; false holds it back. */
  polling = true;
  private scheduled = true;
  private offering: Frame | null = null;
  private inPoll = false;
  private progress = 0;

  constructor(private readonly parts: FrontParts) {
    const { top } = parts;
    const small = (FRAMES * FRAME_BYTES) / PAGE_BYTES;
    const pages = small + LARGE * LARGE_PAGES;
    const address = top.take(pages);
    this.pool = new FramePool(FRAMES, address, FRAME_BYTES);
    this.large = new FramePool(LARGE, address + small * PAGE_BYTES, LARGE_PAGES * PAGE_BYTES);
    this.services = this.makeServices({
      address,
      pages,
      refs: top.grant(address, pages, false),
      release: () => {
        throw new Error('transmitMemory belongs to netfront: it is not released by a plugin');
      },
    });
  }

  /** A frame of these bytes, held once. */
  frame(bytes: Uint8Array, shape: FrameShape = {}): Frame {
    const cuts = shape.cuts ?? [];
    const pool = bytes.length > FRAME_BYTES && cuts.length === 0 ? this.large : this.pool;
    let at = 0;
    const parts = [...cuts, bytes.length].map((length) => {
      const frame = pool.allocate();
      if (frame === null) throw new Error('the conformance kit ran out of frames: this is its own mistake');
      const piece = bytes.subarray(at, at + length);
      at += piece.length;
      this.parts.top.memory.bytes.set(piece, frame.home);
      frame.describe(frame.home, piece.length);
      return frame;
    });
    parts.forEach((part, i) => (part.next = parts[i + 1] ?? null));
    const head = parts[0]!;
    head.totalBytes = bytes.length;
    head.checksum = shape.checksum ?? Checksum.unknown;
    head.segmentation = shape.segmentation ?? Segmentation.none;
    head.segmentBytes = shape.segmentBytes ?? 0;
    return head;
  }

  /** Offers a frame: its verdict. Whatever it is not sent stays the caller's. */
  offer(frame: Frame, more = false): Verdict {
    const { device, parts } = this;
    if (device === null) return inactive;
    const before = snapshot(parts.top.memory, frame);
    this.offering = frame;
    let verdict: Verdict = inactive;
    const answered = this.call('startTransmit', () => {
      verdict = device.startTransmit(frame, more && device.flush !== undefined);
    });
    this.offering = null;
    if (!answered) return inactive;
    if (verdict === Verdict.sent) {
      this.inFlight.add(frame);
      return verdict;
    }
    if (verdict !== Verdict.busy && reasonName(verdict, parts.ownReasons) === undefined) {
      parts.half.onBreach('transmit.verdict', `startTransmit answered ${String(verdict)}`);
      return inactive;
    }
    const change = touched(parts.top.memory, frame, before);
    if (change !== null)
      parts.half.onBreach('transmit.untouched', `after ${this.name(verdict)} the frame's ${change}`);
    return verdict;
  }

  /** Makes a frame, offers it, and takes it back unless it is sent: the verdict's name. */
  transmit(bytes: Uint8Array, shape: FrameShape = {}, more = false): string {
    const frame = this.frame(bytes, shape);
    const verdict = this.offer(frame, more);
    if (verdict !== Verdict.sent) releaseChain(frame);
    return this.name(verdict);
  }

  /** `sent`, `busy` or the reason. */
  name(verdict: Verdict): string {
    if (verdict === Verdict.sent) return 'sent';
    return verdict === Verdict.busy ? 'busy' : (reasonName(verdict, this.parts.ownReasons) ?? 'nonsense');
  }

  /** Nothing follows what was sent with more to come. */
  flush(): void {
    const { device } = this;
    if (device?.flush !== undefined) this.call('flush', () => device.flush!());
  }

  /** One poll: units that the plugin says it did. */
  poll(budget: number): number {
    const { device, parts } = this;
    if (device === null) return 0;
    this.polls++;
    this.progress = 0;
    this.inPoll = true;
    let done = 0;
    this.call('poll', () => {
      done = device.poll(budget);
    });
    this.inPoll = false;
    if (!Number.isInteger(done) || done < 0 || done > budget) {
      parts.half.onBreach('poll.budget', `poll(${budget}) answered ${String(done)}`);
      return 0;
    }
    if (this.progress > budget)
      parts.half.onBreach('poll.budget', `poll(${budget}) delivered and completed ${this.progress} frames`);
    return done;
  }

  /** Arms the interrupt; what the plugin says. */
  arm(): boolean {
    const { device } = this;
    let events = false;
    if (device !== null)
      this.call('startInterrupts', () => {
        events = device.startInterrupts();
      });
    return events;
  }

  /** Disarms it. */
  disarm(): void {
    const { device } = this;
    if (device !== null) this.call('stopInterrupts', () => device.stopInterrupts());
  }

  /** Whether the plugin says it is ready. */
  ready(): boolean {
    const { device } = this;
    let ready = false;
    if (device !== null)
      this.call('checkReady', () => {
        ready = device.checkReady();
      });
    return ready;
  }

  /** A frame enters the slow path towards the guest. */
  enterSlow(bytes: Uint8Array): void {
    this.slow.push(bytes);
    this.entered++;
  }

  /**
   * What netfront does when it runs: all that the plugin's queue had, then what the slow path had by then, then to
   * sleep. Whether there was work.
   */
  pump(): boolean {
    if (!this.polling) return false;
    if (this.device === null) return this.takeSlow();
    if (!this.scheduled && (this.slowHeld || this.slow.length === 0)) return false;
    this.scheduled = false;
    this.disarm();
    let worked = false;
    for (let rounds = 0; ; rounds++) {
      const done = this.poll(BUDGET);
      worked ||= done > 0;
      if (done === BUDGET) continue;
      if (this.takeSlow()) {
        worked = true;
        continue;
      }
      if (!this.arm()) return worked;
      if (rounds === MOST_ROUNDS) {
        this.parts.half.onBreach(
          'interrupts.settle',
          `startInterrupts answered true ${MOST_ROUNDS} times, and poll found nothing`,
        );
        return worked;
      }
      if (done > 0) rounds = 0;
    }
  }

  /** Nobody holds anything of netfront's any more: frames that were never completed are taken back. */
  takeBack(): void {
    for (const frame of [...this.inFlight]) releaseChain(frame);
    this.inFlight.clear();
    for (const frame of this.keeping?.splice(0) ?? []) releaseChain(frame);
  }

  private takeSlow(): boolean {
    if (this.slowHeld || this.slow.length === 0) return false;
    for (const bytes of this.slow.splice(0)) {
      this.left++;
      this.delivered.push({
        bytes,
        path: 'slow',
        checksum: Checksum.unknown,
        segmentation: Segmentation.none,
        segmentBytes: 0,
      });
    }
    return true;
  }

  /** Calls a hook that must not throw. */
  private call(hook: string, fn: () => void): boolean {
    try {
      fn();
      return true;
    } catch (error) {
      this.parts.half.onBreach('hooks.never-throw', `${hook} threw ${String(error)}`);
      return false;
    }
  }

  private makeServices(transmitMemory: SharedPages): FrontendServices {
    const { parts } = this;
    const { half, top } = parts;
    return {
      ...commonServices(parts),
      vif: parts.vif,
      transmitMemory,
      mapRegisters: (ref): Registers => {
        half.enter('mapRegisters');
        const { addresses, unmap } = top.map([ref], true);
        const page = addresses[0]!;
        return {
          write32: (offset, value) => {
            if (!half.isOpen('a write of a register')) return;
            top.memory.words[(page + offset) >>> 2] = value;
            parts.registerWritten(page + offset);
          },
          read32: (offset) => top.memory.words[(page + offset) >>> 2]!,
          unmap: half.hold('mappings', 'a register page', unmap),
        };
      },
      deliver: (frame) => {
        if (!half.isOpen('deliver')) return;
        if (!this.inPoll)
          half.onBreach('receive.in-poll', 'deliver was called while netfront was not in poll');
        this.progress++;
        this.take(frame);
      },
      completed: (frame) => {
        if (half.isOpen('completed')) this.complete(frame);
      },
      wake: () => {
        if (!half.isOpen('wake')) return;
        this.wakes++;
        this.scheduled = true;
      },
      schedulePoll: () => {
        if (!half.isOpen('schedulePoll')) return;
        this.asked++;
        this.scheduled = true;
      },
      passed: (fence) => {
        half.isOpen('passed');
        return ((this.left - (fence[0] ?? 0)) | 0) >= 0;
      },
    };
  }

  private take(frame: Frame): void {
    const bytes: number[] = [];
    for (let f: Frame | null = frame; f !== null; f = f.next)
      bytes.push(...this.parts.top.memory.bytes.subarray(f.address, f.address + f.length));
    this.delivered.push({
      bytes: Uint8Array.from(bytes),
      path: 'fast',
      checksum: frame.checksum,
      segmentation: frame.segmentation,
      segmentBytes: frame.segmentBytes,
    });
    if (this.keeping === null) return;
    holdChain(frame);
    this.keeping.push(frame);
  }

  private complete(frame: Frame): void {
    const { half, top } = this.parts;
    if (frame === this.offering)
      return half.onBreach('transmit.completes-once', 'completed was called from inside startTransmit');
    if (!this.inFlight.delete(frame))
      return half.onBreach(
        'transmit.completes-once',
        'completed was called for a frame that the plugin does not have: twice, or it was never sent',
      );
    this.progress++;
    this.completions++;
    // The memory is netfront's again, and used at once.
    for (let f: Frame | null = frame; f !== null; f = f.next)
      top.memory.bytes.fill(REUSED, f.address, f.address + f.length);
    releaseChain(frame);
  }
}
