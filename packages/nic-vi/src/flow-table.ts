/**
 * The flows of one vif that were seen on the slow path: how often, and whether each has a filter or gets one.
 *
 * Looked up for each of the vif's frames that arrives there, so it is typed arrays of a fixed size. A flow whose
 * places are all taken by flows with filters is not accelerated; one that was only seen gives way.
 */
import type { FlowSpec } from './filter.js';
import { Protocol, UNTAGGED, network16, unpair, type FrameHeaders } from './headers.js';

const SLOTS = 256;
const PROBES = 4;
const KEY_WORDS = 6;
/** Frames further apart are not counted together. */
const PERIOD_MS = 1000;

/** The flows of one vif. */
export class FlowTable {
  private readonly keys = new Int32Array(SLOTS * KEY_WORDS);
  private readonly seen = new Uint16Array(SLOTS);
  private readonly since = new Float64Array(SLOTS);
  private readonly taken = new Uint8Array(SLOTS);

  /** The slot of a parsed frame's flow, made when it is new; -1 when there is no place for it. */
  find(h: FrameHeaders): number {
    const which = (h.ports >>> 16) | (h.protocol << 16) | (h.version << 24);
    const last = h.version === 4 ? 0 : h.destination3; // IPv4 leaves what was there
    const mixed = Math.imul(which ^ h.destination0 ^ last ^ (h.vlan << 7), 0x9e3779b1);
    const first = mixed ^ (mixed >>> 15);
    let spare = -1;
    for (let i = 0; i < PROBES; i++) {
      const slot = (first + i) & (SLOTS - 1);
      if (this.isAt(slot * KEY_WORDS, which, h)) return slot;
      if (this.taken[slot] === 0 && (spare < 0 || this.since[slot]! < this.since[spare]!)) spare = slot;
    }
    if (spare < 0) return -1;
    const { keys } = this;
    const at = spare * KEY_WORDS;
    keys[at] = which;
    keys[at + 1] = h.vlan;
    keys[at + 2] = h.destination0;
    keys[at + 3] = h.destination1;
    keys[at + 4] = h.destination2;
    keys[at + 5] = h.destination3;
    this.seen[spare] = 0;
    return spare;
  }

  /** Whether the flow has a filter, or gets one. */
  isTaken(slot: number): boolean {
    return this.taken[slot] !== 0;
  }

  /** Counts a frame; answers how many came within the period. */
  see(slot: number, now: number): number {
    if (this.seen[slot] === 0 || now - this.since[slot]! > PERIOD_MS) {
      this.since[slot] = now;
      this.seen[slot] = 0;
    }
    return this.seen[slot] === 0xffff ? 0xffff : ++this.seen[slot]!;
  }

  /** It gets a filter: the slot is its own until {@link free}. */
  take(slot: number): void {
    this.taken[slot] = 1;
  }

  /** It has none any more, and has to be seen anew. */
  free(slot: number): void {
    this.taken[slot] = 0;
    this.seen[slot] = 0;
  }

  /** What a filter for it matches. */
  spec(slot: number, mac: Uint8Array): FlowSpec {
    const [which, vlan, ...address] = this.keys.subarray(slot * KEY_WORDS, (slot + 1) * KEY_WORDS);
    const localAddress = new Uint8Array(which! >>> 24 === 4 ? 4 : 16);
    for (let i = 0; i < localAddress.length; i += 4) unpair(address[i / 4]!, localAddress, i);
    return {
      mac,
      ...(vlan === UNTAGGED ? {} : { vlan: vlan! }),
      protocol: ((which! >>> 16) & 0xff) === Protocol.tcp ? 'tcp' : 'udp',
      localAddress,
      localPort: network16(which! & 0xffff),
    };
  }

  private isAt(at: number, which: number, h: FrameHeaders): boolean {
    const { keys } = this;
    return (
      keys[at] === which &&
      keys[at + 1] === h.vlan &&
      keys[at + 2] === h.destination0 &&
      (h.version === 4 ||
        (keys[at + 3] === h.destination1 &&
          keys[at + 4] === h.destination2 &&
          keys[at + 5] === h.destination3))
    );
  }
}
