/**
 * Numbered frames from one guest to the other, and the judgement of what arrives: each frame once, in its flow's
 * order, with its own bytes. A finding that no fault excuses ends the run at once.
 */
import type { Frame, FrameSink, Memory } from '@netaccel/core-hooks';
import { Random } from '@netaccel/xen/sim';
import type { SimDomain } from '@netaccel/xen/sim';
import type { Netfront } from '@netaccel/netfront';
import { groupOf } from './groups.js';

const ETHERNET_BYTES = 14;
const HEADER_BYTES = 42;
const SEQUENCE = HEADER_BYTES;
const FLOW = SEQUENCE + 4;
const LENGTH = FLOW + 2;
const BODY = LENGTH + 2;
const SHORTEST = 60;
const LONGEST = 1514;
const FIRST_PORT = 7000;
const PAUSE_MS = 0.15;

/** In a body each byte is 31 more than the one before, modulo 256: every body is a piece of this. */
const pattern = Buffer.from(Uint8Array.from({ length: 256 + LONGEST }, (_, i) => i * 31));
/** Where in it each byte is first. */
const startOf = Uint8Array.from({ length: 256 }, (_, byte) => pattern.indexOf(byte));

/**
 * What became of one number of a flow. `sending`: its sender's driver has it, as far as anybody has seen, and only that
 * driver's counters can name its loss. `outside`: a plugin took it, or it was on a bridge.
 */
const Fate = { sending: 0, outside: 1, arrived: 2, lost: 3 } as const;

/** Frames that are under way. */
export interface UnderWay {
  /** Those that their sender's driver has. */
  readonly sending: number;
  /** The others. */
  readonly outside: number;
}

/** What a run's checks call when something is wrong. */
export type Fail = (what: string) => never;

/** Which harm the wire may do: it is counted there. */
export interface Excuses {
  /** Frames that the wire changed. */
  corrupted(): number;
  /** Frames that the wire sent twice. */
  duplicated(): number;
}

/** One direction. */
export class Traffic {
  /** Frames that the sender's driver took. */
  sent = 0;
  /** Numbers that arrived. */
  arrived = 0;
  /** Frames that arrived with other bytes than were sent. */
  corrupted = 0;
  /** Numbers that arrived again. */
  doubled = 0;
  /** Frames of others. */
  foreign = 0;
  /** A frame may come after a later one now: its receiver is on its way to another host. */
  mayOvertake = false;
  /** Frames that did. */
  overtaken = 0;
  /** Its receiver's flows are moving between its queues now: no order holds, and none for what was sent meanwhile. */
  private rehashing = false;
  private readonly fates: number[][];
  private readonly last: number[];
  /** Numbers below may still come after later ones. */
  private readonly forgiven: number[];
  private readonly random: Random;
  /** What a frame is compared with. */
  private readonly expected = new Uint8Array(LONGEST);
  /** What arrived, in one piece. */
  private readonly whole = new Uint8Array(LONGEST);
  /** Header of every frame, with nothing yet where they differ. */
  private readonly header: Uint8Array;
  private until = 0;
  private cancel: () => void = () => undefined;

  /**
   * @param source last byte of the sender's MAC and IP address, and `destination` of the receiver's.
   * @param groupFlows of the flows, how many are to a group: the first ones.
   */
  constructor(
    private readonly memory: Memory,
    private readonly source: number,
    destination: number,
    flows: number,
    private readonly groupFlows: number,
    seed: number,
    private readonly excuses: Excuses,
    private readonly fail: Fail,
  ) {
    this.fates = Array.from({ length: flows }, () => []);
    this.last = new Array<number>(flows).fill(-1);
    this.forgiven = new Array<number>(flows).fill(0);
    this.random = new Random(seed);
    this.header = Uint8Array.of(
      ...[2, 0, 0, 0, 0, destination, 2, 0, 0, 0, 0, source, 8, 0, 0x45, 0],
      ...[0, 0, 0, 0, 0x40, 0, 0x40, 17, 0, 0],
      ...[10, 77, 0, source, 10, 77, 0, destination, 0, 0, 0, 0, 0, 0, 0, 0],
    );
  }

  /** Sends bursts at random times through a driver until `untilMs`, or `stop`. */
  begin(domain: SimDomain, out: Netfront, untilMs: number): void {
    this.stop();
    this.until = untilMs;
    const burst = (): void => {
      if (domain.loop.now() >= this.until) return;
      if (this.random.below(8) !== 0)
        for (let n = 1 + this.random.below(12); n > 0; n--) if (!this.send(out, n > 1)) break;
      out.flush();
      this.cancel = domain.loop.after((this.random.below(1000) / 1000) * PAUSE_MS, burst);
    };
    this.cancel = domain.loop.after(0, burst);
  }

  /** Sends no more. */
  stop(): void {
    this.cancel();
    this.cancel = () => undefined;
  }

  /** Nobody sends before `ms` on the clock. */
  pause(domain: SimDomain, out: Netfront, untilMs: number, resumeAtMs: number): void {
    this.stop();
    this.cancel = domain.loop.after(resumeAtMs - domain.loop.now(), () => this.begin(domain, out, untilMs));
  }

  /** Sends one frame of a random flow. False: the driver has no room. */
  send(out: Netfront, more: boolean): boolean {
    const { random, memory } = this;
    const flow = random.below(this.fates.length);
    const longest = Math.min(LONGEST, ETHERNET_BYTES + (out.vif?.mtu ?? LONGEST));
    const length = SHORTEST + (random.below(3) === 0 ? random.below(longest - SHORTEST + 1) : 0);
    const frame = out.allocate(length);
    if (frame === null) return false;
    const sequence = this.fates[flow]!.length;
    this.write(memory.bytes, frame.home, flow, sequence, length);
    frame.describe(frame.home, length);
    this.fates[flow]!.push(Fate.sending);
    if (!out.startXmit(frame, more)) {
      this.fates[flow]!.pop();
      frame.release();
      return false;
    }
    this.sent++;
    return true;
  }

  /** What stands where the receiver's stack would. */
  sink(): FrameSink {
    return { deliver: (frame) => this.take(frame), flush: () => undefined };
  }

  /** A frame was seen outside of its sender's driver: a plugin took it, or a bridge forwards it. */
  seen(frame: Frame): void {
    const { bytes } = this.memory;
    const { address: at, length } = frame;
    if (length < BODY || bytes[at + 11] !== this.source || bytes[at + 23] !== 17) return;
    const flow = this.fates[(bytes[at + FLOW]! << 8) | bytes[at + FLOW + 1]!];
    const sequence = wordAt(bytes, at + SEQUENCE);
    if (flow?.[sequence] === Fate.sending) flow[sequence] = Fate.outside;
  }

  /** Frames taken that neither arrived nor were given up. */
  get underWay(): UnderWay {
    let sending = 0;
    let outside = 0;
    for (const flow of this.fates)
      for (const fate of flow)
        if (fate === Fate.sending) sending++;
        else if (fate === Fate.outside) outside++;
    return { sending, outside };
  }

  /**
   * Whoever had what was under way is gone, and nobody counts it: the sender with its driver, or what is outside of it.
   */
  giveUp(what: 'all' | 'outside'): void {
    for (const flow of this.fates)
      for (let i = flow.length - 1; i >= 0; i--)
        if (flow[i] === Fate.outside || (what === 'all' && flow[i] === Fate.sending)) flow[i] = Fate.lost;
  }

  /** What was sent up to now may come in any order, and no frame of later. */
  forgive(): void {
    this.mayOvertake = false;
    for (const [flow, fates] of this.fates.entries()) this.forgiven[flow] = fates.length;
  }

  /** Said at each turn: whether the receiver has yet to settle how its frames are spread over its queues. */
  rehash(unsettled: boolean): void {
    if (this.rehashing && !unsettled)
      for (const [flow, fates] of this.fates.entries()) this.forgiven[flow] = fates.length;
    this.rehashing = unsettled;
  }

  /** Numbers under way, for a report. */
  missing(): string {
    const numbers = (wanted: number): string =>
      this.fates
        .flatMap((flow, f) => {
          const at = flow.flatMap((fate, i) => (fate === wanted ? [i] : []));
          const more = at.length > 8 ? ` and ${at.length - 8} more` : '';
          return at.length > 0 ? [`flow ${f}: ${at.slice(0, 8).join()}${more}`] : [];
        })
        .join('; ') || 'none';
    return `with the driver ${numbers(Fate.sending)}; outside ${numbers(Fate.outside)}`;
  }

  private take(frame: Frame): void {
    const whole = this.gather(frame);
    if (whole.length < SHORTEST || whole[11] !== this.source || whole[23] !== 17) {
      this.foreign++;
      return;
    }
    const sequence = wordAt(whole, SEQUENCE);
    const flow = (whole[FLOW]! << 8) | whole[FLOW + 1]!;
    if (!this.isOurs(whole, flow, sequence)) {
      if (++this.corrupted > this.excuses.corrupted())
        this.fail(
          `a frame of ${whole.length} bytes arrived that was never sent so: flow ${flow}, number ${sequence}`,
        );
      return;
    }
    const fates = this.fates[flow]!;
    if (fates[sequence] === Fate.arrived) {
      if (++this.doubled > this.excuses.duplicated())
        this.fail(`flow ${flow}: number ${sequence} arrived twice`);
      return;
    }
    if (sequence < this.last[flow]! && sequence >= this.forgiven[flow]! && !this.rehashing) {
      if (!this.mayOvertake)
        this.fail(`flow ${flow}: number ${sequence} arrived after number ${this.last[flow]!}`);
      this.overtaken++;
    }
    this.last[flow] = Math.max(this.last[flow]!, sequence);
    fates[sequence] = Fate.arrived;
    this.arrived++;
  }

  /** All bytes of a frame; good until the next call. */
  private gather(frame: Frame): Uint8Array {
    const { bytes } = this.memory;
    const { totalBytes } = frame;
    const whole = totalBytes <= LONGEST ? this.whole.subarray(0, totalBytes) : new Uint8Array(totalBytes);
    let at = 0;
    for (let f: Frame | null = frame; f !== null; at += f.length, f = f.next)
      whole.set(bytes.subarray(f.address, f.address + f.length), at);
    return whole;
  }

  private isOurs(seen: Uint8Array, flow: number, sequence: number): boolean {
    const fates = this.fates[flow];
    if (fates === undefined || sequence >= fates.length || seen.length > LONGEST) return false;
    const expected = this.expected.subarray(0, seen.length);
    this.write(expected, 0, flow, sequence, seen.length);
    return Buffer.compare(seen, expected) === 0;
  }

  /** UDP over IPv4, its own length in its payload. */
  private write(into: Uint8Array, at: number, flow: number, sequence: number, length: number): void {
    into.set(this.header, at);
    if (flow < this.groupFlows) {
      into.set(groupOf(flow), at);
      into.set([224, 0, 0, flow + 1], at + 30);
    }
    put(into, at + 16, length - 14);
    put(into, at + 34, FIRST_PORT + flow);
    put(into, at + 36, FIRST_PORT + flow);
    put(into, at + 38, length - 34);
    let sum = 0;
    for (let i = at + 14; i < at + 34; i += 2) sum += (into[i]! << 8) | into[i + 1]!;
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
    put(into, at + 24, ~sum & 0xffff);
    put(into, at + SEQUENCE, sequence >>> 16);
    put(into, at + SEQUENCE + 2, sequence & 0xffff);
    put(into, at + FLOW, flow);
    put(into, at + LENGTH, length);
    const start = startOf[(BODY * 31 + fold(sequence) * 7 + flow) & 0xff]!;
    into.set(pattern.subarray(start, start + length - BODY), at + BODY);
  }
}

/** One byte that changes with each bit of a number: a body belongs to one number, also when the wire changes that. */
function fold(sequence: number): number {
  return (sequence ^ (sequence >>> 8) ^ (sequence >>> 16) ^ (sequence >>> 24)) & 0xff;
}

/** Four bytes in network order. */
function wordAt(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}

/** Sets two bytes in network order. */
function put(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value & 0xff;
}
