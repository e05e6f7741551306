/**
 * Where each MAC address was last seen: a bounded, ageing table in typed arrays.
 *
 * Used by bridges and plugins, once or twice a frame. Open addressing over a power of two of slots, at most
 * {@link PROBES} looked at; when all of those are taken the one unseen for longest gives way, so that a flood
 * of source addresses costs others their entry at worst, never memory or time.
 */
import type { Address } from '@netaccel/core-hooks';

const PROBES = 8;
/** Answer of {@link MacTable.find} when the address is not known. */
export const UNKNOWN_PORT = -1;

/** First two bytes of a MAC address at `at`, as one number. */
export function macHigh(bytes: Uint8Array, at: Address): number {
  return bytes[at]! | (bytes[at + 1]! << 8);
}

/** Last four bytes of a MAC address at `at`, as one signed number. */
export function macLow(bytes: Uint8Array, at: Address): number {
  return bytes[at + 2]! | (bytes[at + 3]! << 8) | (bytes[at + 4]! << 16) | (bytes[at + 5]! << 24);
}

/** MAC address to port number, with the time it was last seen. */
export class MacTable {
  private readonly mask: number;
  private readonly high: Int32Array;
  private readonly low: Int32Array;
  private readonly port: Int16Array;
  private readonly seen: Float64Array;
  /** Addresses that gave way to others because their slots were full. */
  displaced = 0;

  /**
   * @param slots a power of two.
   * @param ageingMs an address unseen for longer is not known any more.
   */
  constructor(
    slots = 1024,
    private readonly ageingMs = 300_000,
  ) {
    this.mask = slots - 1;
    this.high = new Int32Array(slots).fill(-1);
    this.low = new Int32Array(slots);
    this.port = new Int16Array(slots);
    this.seen = new Float64Array(slots);
  }

  /** The port of an address, or {@link UNKNOWN_PORT}. */
  find(high: number, low: number, now: number): number {
    let slot = this.hash(high, low);
    for (let i = 0; i < PROBES; i++, slot = (slot + 1) & this.mask) {
      if (this.low[slot] === low && this.high[slot] === high)
        return now - this.seen[slot]! <= this.ageingMs ? this.port[slot]! : UNKNOWN_PORT;
    }
    return UNKNOWN_PORT;
  }

  /** Remembers that an address was seen on `port`. */
  learn(high: number, low: number, port: number, now: number): void {
    const first = this.hash(high, low);
    let oldest = first;
    let slot = first;
    for (let i = 0; i < PROBES; i++, slot = (slot + 1) & this.mask) {
      if (this.low[slot] === low && this.high[slot] === high) {
        this.port[slot] = port;
        this.seen[slot] = now;
        return;
      }
      if (this.high[slot] === -1) {
        // A free slot is as good as the oldest, but the address may still stand further on.
        if (this.high[oldest] !== -1) oldest = slot;
      } else if (this.high[oldest] !== -1 && this.seen[slot]! < this.seen[oldest]!) oldest = slot;
    }
    if (this.high[oldest] !== -1 && now - this.seen[oldest]! <= this.ageingMs) this.displaced++;
    this.high[oldest] = high;
    this.low[oldest] = low;
    this.port[oldest] = port;
    this.seen[oldest] = now;
  }

  /** Forgets an address. */
  forget(high: number, low: number): void {
    let slot = this.hash(high, low);
    for (let i = 0; i < PROBES; i++, slot = (slot + 1) & this.mask)
      if (this.low[slot] === low && this.high[slot] === high) this.high[slot] = -1;
  }

  /** Forgets every address seen on `port`. */
  forgetPort(port: number): void {
    for (let slot = 0; slot <= this.mask; slot++) if (this.port[slot] === port) this.high[slot] = -1;
  }

  /** Addresses known now, for people. */
  entries(now: number): { mac: string; port: number; ageMs: number }[] {
    const out: { mac: string; port: number; ageMs: number }[] = [];
    for (let slot = 0; slot <= this.mask; slot++) {
      const age = now - this.seen[slot]!;
      if (this.high[slot] !== -1 && age <= this.ageingMs)
        out.push({ mac: macText(this.high[slot]!, this.low[slot]!), port: this.port[slot]!, ageMs: age });
    }
    return out;
  }

  private hash(high: number, low: number): number {
    const mixed = Math.imul(low ^ Math.imul(high, 0x9e3779b1), 0x85ebca6b);
    return (mixed ^ (mixed >>> 15)) & this.mask;
  }
}

function macText(high: number, low: number): string {
  return [high, high >>> 8, low, low >>> 8, low >>> 16, low >>> 24]
    .map((b) => (b & 255).toString(16).padStart(2, '0'))
    .join(':');
}
