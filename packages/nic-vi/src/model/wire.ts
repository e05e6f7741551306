/**
 * The wire between two ports, as the machine sees it: its rate, delay, faults, capture and link. Each thread that
 * may ring a doorbell has a Wire object over the same state; settings hold for all threads at once.
 */
import type { Address, Memory } from '@netaccel/core-hooks';
import type { Counters, ViId } from '../control.js';
import type { NicCore } from './core.js';
import { coreOf, type Nic } from './nic.js';
import { Fault, WireEnd } from './wire-end.js';
import {
  DirectionWord,
  MAX_SCRIPTED_FAULTS,
  WireChecksums,
  attachWireState,
  initialiseWireState,
  wireCounters,
  type WireConfig,
  type WirePlan,
} from './wire-state.js';

/** One end: a port of a NIC. */
export interface WirePort {
  /** The NIC, as this thread has it. */
  readonly nic: Nic;
  /** The port's number. */
  readonly port: number;
}

/** A fault of one frame. */
export interface ScriptedFault {
  /** The frame's number in its direction, from 1. */
  readonly frame: number;
  /** What happens to it. */
  readonly fault: 'drop' | 'corrupt' | 'duplicate';
}

/** What goes wrong on the way, for both directions alike. Probabilities are from 0 to 1. */
export interface WireFaults {
  /** Probability that a frame is lost. */
  readonly drop?: number;
  /** Probability that one bit behind the Ethernet header is changed. */
  readonly corrupt?: number;
  /** Probability that a frame arrives twice. */
  readonly duplicate?: number;
  /** Seed of the probabilities; 1 when left out. */
  readonly seed?: number;
  /** Faults of certain frames, by the number of the frame in its direction, from 1. At most 32. */
  readonly script?: readonly ScriptedFault[];
}

/** What a wire does. Fields left out stay as they are. */
export interface WireSettings {
  /** Bits per second; 0 for no limit. */
  readonly bitsPerSecond?: number;
  /** Microseconds from one end to the other; 0 for none. */
  readonly delayUs?: number;
  /** Whether NICs compute the checksums that they are asked to fill in. */
  readonly checksums?: WireChecksums;
  /** Whether frames are captured; needs `captureSlots`. */
  readonly capture?: boolean;
  /** What goes wrong; replaces all faults that were set. */
  readonly faults?: WireFaults;
}

/** A frame that went over the wire. Valid during the call that brings it. */
export type CaptureVisitor = (
  direction: 0 | 1,
  timeUs: number,
  address: Address,
  length: number,
  sender: ViId,
) => void;

/** Two ports joined. */
export class Wire {
  private readonly words: Int32Array;
  private readonly doubles: Float64Array;
  private readonly ends: readonly [WireEnd, WireEnd];
  private readonly cores: readonly [NicCore, NicCore];

  private constructor(
    private readonly plan: WirePlan,
    private readonly a: WirePort,
    private readonly b: WirePort,
  ) {
    this.cores = [coreOf(a.nic), coreOf(b.nic)];
    const [from, to] = this.cores;
    const { device } = from;
    this.words = device.words;
    this.doubles = device.doubles;
    this.ends = [
      new WireEnd(device, plan, 0, to.portParts(b.port).receiver, from.clock),
      new WireEnd(device, plan, 1, from.portParts(a.port).receiver, to.clock),
    ];
    from.plug(a.port, this, this.ends[0]);
    to.plug(b.port, this, this.ends[1]);
  }

  /** Makes a wire at `address`, `wireStateBytes(config)` long, joins the ports and brings the link up. */
  static create(memory: Memory, address: Address, a: WirePort, b: WirePort, config: WireConfig = {}): Wire {
    const wire = new Wire(initialiseWireState(memory, address, config), a, b);
    wire.set({ faults: {} });
    wire.setLink(true);
    return wire;
  }

  /** Joins the same ports by the same wire in another thread. */
  static attach(memory: Memory, address: Address, a: WirePort, b: WirePort): Wire {
    return new Wire(attachWireState(memory, address), a, b);
  }

  /** Changes what the wire does. Frames under way keep their times. */
  set(settings: WireSettings): void {
    if (settings.capture === true && this.plan.captureSlots === 0)
      throw new RangeError('capture: a wire made with captureSlots expected; this one has none');
    this.ends.forEach((end, i) => {
      const at = this.plan.directions[i]!;
      const { words, doubles } = this;
      end.receiver.enter();
      if (settings.bitsPerSecond !== undefined)
        doubles[(at + DirectionWord.bitsPerSecond) >>> 1] = settings.bitsPerSecond;
      if (settings.delayUs !== undefined) doubles[(at + DirectionWord.delayUs) >>> 1] = settings.delayUs;
      if (settings.checksums !== undefined) words[at + DirectionWord.checksums] = settings.checksums;
      if (settings.capture !== undefined) words[at + DirectionWord.capture] = settings.capture ? 1 : 0;
      if (settings.faults !== undefined) this.setFaults(at, settings.faults, i);
      words[at + DirectionWord.slow] = this.isSlow(at) ? 1 : 0;
      end.receiver.leave();
    });
  }

  /** Brings the link of both ports up or down. Frames under way still arrive. */
  setLink(up: boolean): void {
    this.a.nic.setLink(this.a.port, up);
    this.b.nic.setLink(this.b.port, up);
  }

  /**
   * Delivers what is due at `nowUs`, and lets VIs go on that waited for room.
   * @returns when to call again, in microseconds; Infinity when nothing is under way.
   */
  advance(nowUs: number): number {
    let next = Infinity;
    for (let i = 0; i < 2; i++) {
      const end = this.ends[i]!;
      end.enterAt(nowUs);
      end.leave(0, 0);
      if (end.takeWaiting()) {
        this.cores[i]!.resumeBlocked((i === 0 ? this.a : this.b).port);
      }
      next = Math.min(next, end.nextDue());
    }
    return next;
  }

  /** Raises the interrupts that both ends owe in this thread. @internal */
  settle(): void {
    this.cores[0].raiseOwed();
    this.cores[1].raiseOwed();
  }

  /**
   * Visits and removes captured frames, at most `limit`, both directions in the order of time; returns how many.
   * One thread reads.
   */
  drainCapture(visit: CaptureVisitor, limit = 1024): number {
    const [first, second] = this.ends;
    for (let taken = 0; taken < limit; taken++) {
      const times = [first.nextCaptured(), second.nextCaptured()] as const;
      if (times[0] === Infinity && times[1] === Infinity) return taken;
      const direction = times[0] <= times[1] ? 0 : 1;
      this.ends[direction].takeCaptured((timeUs, address, length, sender) =>
        visit(direction, timeUs, address, length, sender),
      );
    }
    return limit;
  }

  /** Counters of one direction: 0 is from the first port to the second. */
  statistics(direction: 0 | 1): Counters {
    const first = (this.plan.directions[direction] + DirectionWord.counters) >>> 1;
    return Object.fromEntries(Object.keys(wireCounters).map((name, i) => [name, this.doubles[first + i]!]));
  }

  /** Its state, for `explain`. */
  describe(): Readonly<Record<string, unknown>> {
    const at = this.plan.directions[0];
    return {
      bitsPerSecond: this.doubles[(at + DirectionWord.bitsPerSecond) >>> 1],
      delayUs: this.doubles[(at + DirectionWord.delayUs) >>> 1],
      maxFrameBytes: this.plan.maxFrameBytes,
      transparent: this.plan.directions.every((d) => this.words[d + DirectionWord.slow] === 0),
      checksums: this.words[at + DirectionWord.checksums] === WireChecksums.blank ? 'blank' : 'full',
      directions: [this.statistics(0), this.statistics(1)],
    };
  }

  private setFaults(at: number, faults: WireFaults, direction: number): void {
    const { words } = this;
    const script = faults.script ?? [];
    if (script.length > MAX_SCRIPTED_FAULTS)
      throw new RangeError(`script: at most ${MAX_SCRIPTED_FAULTS} faults expected, ${script.length} seen`);
    // Two directions of one seed must not fail together; the generator's state may not be 0.
    words[at + DirectionWord.random] = Math.imul((faults.seed ?? 1) * 2 + direction + 1, 0x9e37_79b1) | 1;
    words[at + DirectionWord.drop] = probability('drop', faults.drop);
    words[at + DirectionWord.corrupt] = probability('corrupt', faults.corrupt);
    words[at + DirectionWord.duplicate] = probability('duplicate', faults.duplicate);
    words[at + DirectionWord.scripted] = script.length;
    script.forEach(({ frame, fault }, i) => {
      words[at + DirectionWord.script + 2 * i] = frame;
      words[at + DirectionWord.script + 2 * i + 1] = Fault[fault];
    });
  }

  private isSlow(at: number): boolean {
    const { words, doubles } = this;
    return (
      doubles[(at + DirectionWord.bitsPerSecond) >>> 1] !== 0 ||
      doubles[(at + DirectionWord.delayUs) >>> 1] !== 0 ||
      (words[at + DirectionWord.capture]! |
        words[at + DirectionWord.drop]! |
        words[at + DirectionWord.corrupt]! |
        words[at + DirectionWord.duplicate]! |
        words[at + DirectionWord.scripted]!) !==
        0
    );
  }
}

function probability(what: string, value = 0): number {
  if (!(value >= 0 && value <= 1)) throw new RangeError(`${what}: 0 to 1 expected, ${value} seen`);
  return Math.min(Math.round(value * 2 ** 32), 2 ** 32 - 1);
}
