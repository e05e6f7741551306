/**
 * Sets of VIs that received flows are spread over by the Toeplitz hash. The sets are in the NIC's state; each
 * thread makes a set's hash tables when it first meets it.
 */
import { unpair, type FrameHeaders } from '../headers.js';
import { TOEPLITZ_INPUT_BYTES, TOEPLITZ_KEY_BYTES, Toeplitz, defaultToeplitzKey } from '../toeplitz.js';
import type { NicPlan } from './plan.js';
import { SET_SIZE, SetWord } from './state.js';

/** One NIC's sets. */
export class SetTable {
  private readonly base: number;
  private readonly count: number;
  private readonly hashes: (Toeplitz | undefined)[] = [];
  private readonly sequences: number[] = [];
  private readonly input = new Uint8Array(TOEPLITZ_INPUT_BYTES);

  constructor(
    private readonly words: Int32Array,
    plan: NicPlan,
  ) {
    this.base = plan.setBase;
    this.count = plan.sets;
  }

  /** The VI of a set that a frame goes to. */
  choose(set: number, h: FrameHeaders): number {
    const { words } = this;
    const at = this.at(set);
    const members = words[at + SetWord.count]!;
    if (members === 0) return 0;
    return words[at + SetWord.vis + (this.hash(set, h) % members)]!;
  }

  /** The Toeplitz hash of a frame's addresses, and ports when it has some; 0 when it is not IP. */
  hash(set: number, h: FrameHeaders): number {
    const { input } = this;
    let at: number;
    if (h.version === 4) {
      unpair(h.source0, input, 0);
      unpair(h.destination0, input, 4);
      at = 8;
    } else if (h.version === 6) {
      unpair(h.source0, input, 0);
      unpair(h.source1, input, 4);
      unpair(h.source2, input, 8);
      unpair(h.source3, input, 12);
      unpair(h.destination0, input, 16);
      unpair(h.destination1, input, 20);
      unpair(h.destination2, input, 24);
      unpair(h.destination3, input, 28);
      at = 32;
    } else return 0;
    if (h.payload !== 0) {
      unpair(h.ports, input, at);
      at += 4;
    }
    return this.toeplitz(set).hash(input, at);
  }

  /** Takes a free set; -1 when there is none. Under the control lock and the port's lock. */
  allocate(port: number, vis: readonly number[], key: ArrayLike<number> = defaultToeplitzKey): number {
    const { words } = this;
    if (vis.length < 1 || vis.length > SET_SIZE || key.length > TOEPLITZ_KEY_BYTES)
      throw new RangeError(
        `set: 1 to ${SET_SIZE} VIs and at most ${TOEPLITZ_KEY_BYTES} key bytes expected, ${vis.length} and ${key.length} seen`,
      );
    for (let set = 0; set < this.count; set++) {
      const at = this.at(set);
      if (words[at + SetWord.count] !== 0) continue;
      for (let i = 0; i < TOEPLITZ_KEY_BYTES / 4; i++)
        words[at + SetWord.key + i] = [0, 1, 2, 3].reduce(
          (word, b) => (word << 8) | (key[i * 4 + b] ?? 0),
          0,
        );
      vis.forEach((vi, i) => (words[at + SetWord.vis + i] = vi));
      words[at + SetWord.port] = port;
      words[at + SetWord.sequence]!++;
      words[at + SetWord.count] = vis.length;
      return set;
    }
    return -1;
  }

  /** The VIs of a set on a port; empty when there is no such set. */
  members(port: number, set: number): number[] {
    if (!Number.isInteger(set) || set < 0 || set >= this.count) return [];
    const at = this.at(set);
    if (this.words[at + SetWord.port] !== port) return [];
    return Array.from(
      { length: this.words[at + SetWord.count]! },
      (_, i) => this.words[at + SetWord.vis + i]!,
    );
  }

  /** Gives a set back. */
  free(set: number): void {
    this.words[this.at(set) + SetWord.count] = 0;
  }

  /** Gives all back. */
  clear(): void {
    for (let set = 0; set < this.count; set++) this.free(set);
  }

  private at(set: number): number {
    return this.base + set * SetWord.size;
  }

  private toeplitz(set: number): Toeplitz {
    const at = this.at(set);
    const sequence = this.words[at + SetWord.sequence]!;
    let hash = this.hashes[set];
    if (hash === undefined || this.sequences[set] !== sequence) {
      const key = new Uint8Array(TOEPLITZ_KEY_BYTES);
      const view = new DataView(key.buffer);
      for (let i = 0; i < TOEPLITZ_KEY_BYTES / 4; i++)
        view.setUint32(i * 4, this.words[at + SetWord.key + i]!);
      hash = new Toeplitz(key);
      this.hashes[set] = hash;
      this.sequences[set] = sequence;
    }
    return hash;
  }
}
