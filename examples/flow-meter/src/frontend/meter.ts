/**
 * How much each flow sends and receives on the fast path. Its frames pass no bridge and no capture of the driver
 * domain, so this is the only place that can tell.
 *
 * Counted for each frame, so it is typed arrays of a fixed size. A flow whose places are all taken displaces the one
 * that was silent for longest; what that had is in the totals still.
 */
import { UNTAGGED, network16 } from '@netaccel/nic-vi';
import type { FrameHeaders } from '@netaccel/nic-vi';

const SLOTS = 1024;
const PROBES = 8;
const KEY_WORDS = 11;
const FREE = -1;
/** A rate is the mean of a period that is over; a flow that was silent for one has none. */
const PERIOD_MS = 1000;

/** Which way a frame goes. */
export const Way = { sent: 0, received: 1 } as const;
export type Way = (typeof Way)[keyof typeof Way];

/** One flow, as `netaccel explain` shows it. Its ends are the guest's own, and the other. */
export interface FlowReport {
  readonly flow: string;
  readonly sentFrames: number;
  readonly sentBytes: number;
  readonly receivedFrames: number;
  readonly receivedBytes: number;
  /** Of the last whole second, both ways. */
  readonly bitsPerSecond: number;
  readonly silentMs: number;
}

/** The flows of one device. */
export class FlowMeter {
  /** Flows that had to give way. */
  displaced = 0;
  private readonly keys = new Int32Array(SLOTS * KEY_WORDS);
  private readonly key = new Int32Array(KEY_WORDS);
  /** When it was last seen; -1 is a free slot. */
  private readonly seen = new Float64Array(SLOTS).fill(FREE);
  private readonly frames = [new Float64Array(SLOTS), new Float64Array(SLOTS)] as const;
  private readonly bytes = [new Float64Array(SLOTS), new Float64Array(SLOTS)] as const;
  // The period that goes on: when it began, and its bytes; and the rate of the one before.
  private readonly began = new Float64Array(SLOTS);
  private readonly period = new Float64Array(SLOTS);
  private readonly rate = new Float64Array(SLOTS);

  /**
   * Counts a frame.
   * @param h its headers, parsed.
   * @param bytes of the whole frame.
   * @param now milliseconds.
   */
  count(h: FrameHeaders, way: Way, bytes: number, now: number): void {
    const slot = this.find(h, way, now);
    if (now - this.began[slot]! >= PERIOD_MS) this.turn(slot, now);
    this.seen[slot] = now;
    this.frames[way][slot]!++;
    this.bytes[way][slot]! += bytes;
    this.period[slot]! += bytes;
  }

  /** The flows that carry most now, and of those that carry nothing the ones that carried most. */
  top(most: number, now: number): FlowReport[] {
    const flows: FlowReport[] = [];
    for (let slot = 0; slot < SLOTS; slot++) {
      if (this.seen[slot] === FREE) continue;
      if (now - this.began[slot]! >= PERIOD_MS) this.turn(slot, now);
      flows.push({
        flow: this.name(slot),
        sentFrames: this.frames[Way.sent][slot]!,
        sentBytes: this.bytes[Way.sent][slot]!,
        receivedFrames: this.frames[Way.received][slot]!,
        receivedBytes: this.bytes[Way.received][slot]!,
        bitsPerSecond: Math.round(this.rate[slot]! * 8),
        silentMs: Math.round(now - this.seen[slot]!),
      });
    }
    const carried = (flow: FlowReport): number => flow.sentBytes + flow.receivedBytes;
    return flows.sort((a, b) => b.bitsPerSecond - a.bitsPerSecond || carried(b) - carried(a)).slice(0, most);
  }

  /** A period is over, and perhaps some without a frame after it. */
  private turn(slot: number, now: number): void {
    const passed = now - this.began[slot]!;
    const silent = now - this.seen[slot]! >= PERIOD_MS;
    this.rate[slot] = silent ? 0 : (this.period[slot]! * 1000) / passed;
    this.period[slot] = 0;
    this.began[slot] = now;
  }

  private find(h: FrameHeaders, way: Way, now: number): number {
    const { key, keys } = this;
    const mixed = this.readKey(h, way);
    let spare = 0;
    let spareSeen = Infinity;
    for (let i = 0; i < PROBES; i++) {
      const slot = (mixed + i) & (SLOTS - 1);
      if (this.seen[slot]! < spareSeen) {
        spareSeen = this.seen[slot]!;
        spare = slot;
      }
      if (this.seen[slot] !== FREE && this.isAt(slot)) return slot;
    }
    if (spareSeen !== FREE) this.displaced++;
    for (let i = 0; i < KEY_WORDS; i++) keys[spare * KEY_WORDS + i] = key[i]!;
    this.frames[0][spare] = this.frames[1][spare] = this.bytes[0][spare] = this.bytes[1][spare] = 0;
    this.period[spare] = this.rate[spare] = 0;
    this.began[spare] = now;
    return spare;
  }

  /** The guest's own end first, whichever way the frame goes; answers the key's hash. */
  private readKey(h: FrameHeaders, way: Way): number {
    const { key } = this;
    const out = way === Way.sent;
    // Halves of the word: source port, destination port.
    const ports = h.payload === 0 ? 0 : out ? h.ports : (h.ports >>> 16) | (h.ports << 16);
    const six = h.version === 6;
    const ip = h.version !== 0;
    key[0] = h.etherType | (h.vlan << 16);
    key[1] = ip ? h.protocol : 0;
    key[2] = ports;
    key[3] = ip ? (out ? h.source0 : h.destination0) : 0;
    key[4] = ip ? (out ? h.destination0 : h.source0) : 0;
    // IPv4 leaves in the others what was there.
    key[5] = six ? (out ? h.source1 : h.destination1) : 0;
    key[6] = six ? (out ? h.source2 : h.destination2) : 0;
    key[7] = six ? (out ? h.source3 : h.destination3) : 0;
    key[8] = six ? (out ? h.destination1 : h.source1) : 0;
    key[9] = six ? (out ? h.destination2 : h.source2) : 0;
    key[10] = six ? (out ? h.destination3 : h.source3) : 0;
    let hash = 0;
    for (let i = 0; i < KEY_WORDS; i++) hash = Math.imul(hash ^ key[i]!, 0x9e3779b1) ^ (hash >>> 15);
    return hash ^ (hash >>> 16);
  }

  private isAt(slot: number): boolean {
    const { key, keys } = this;
    for (let i = 0; i < KEY_WORDS; i++) if (keys[slot * KEY_WORDS + i] !== key[i]) return false;
    return true;
  }

  /** A flow in words: `tcp 10.0.0.1:5001 - 10.0.0.2:40404`, `icmp 10.0.0.1 - 10.0.0.2`, `arp`. */
  private name(slot: number): string {
    const at = slot * KEY_WORDS;
    const [type, protocol, ports, own0, other0, own1, own2, own3, other1, other2, other3] = [
      ...this.keys.subarray(at, at + KEY_WORDS),
    ] as [number, number, number, number, number, number, number, number, number, number, number];
    const vlan = (type >>> 16) & 0x1fff;
    const tag = vlan === UNTAGGED ? '' : ` vlan ${vlan}`;
    const etherType = type & 0xffff;
    if (etherType !== IPV4 && etherType !== IPV6)
      return `${etherType === ARP ? 'arp' : `type 0x${etherType.toString(16).padStart(4, '0')}`}${tag}`;
    const address = (words: number[]): string =>
      etherType === IPV4 ? ipv4(words[0]!) : `[${words.map(groups).join(':')}]`;
    const end = (words: number[], port: number): string =>
      `${address(words)}${ports === 0 ? '' : `:${network16(port & 0xffff)}`}`;
    const own = end([own0, own1, own2, own3], ports);
    const other = end([other0, other1, other2, other3], ports >>> 16);
    return `${PROTOCOLS[protocol] ?? `protocol ${protocol}`}${tag} ${own} - ${other}`;
  }
}

const IPV4 = 0x0800;
const ARP = 0x0806;
const IPV6 = 0x86dd;
const PROTOCOLS: Readonly<Record<number, string>> = {
  1: 'icmp',
  6: 'tcp',
  17: 'udp',
  47: 'gre',
  58: 'icmpv6',
};

/** Four bytes as they lie in memory. */
function ipv4(word: number): string {
  return [word, word >>> 8, word >>> 16, word >>> 24].map((byte) => byte & 0xff).join('.');
}

function groups(word: number): string {
  const group = (half: number): string => network16(half & 0xffff).toString(16);
  return `${group(word)}:${group(word >>> 16)}`;
}
