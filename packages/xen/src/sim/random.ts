/** A small seeded generator (xorshift32): what a repeatable run draws from. */
export class Random {
  private state: number;

  /** @param seed any number; the same seed gives the same draws. */
  constructor(seed: number) {
    // Mixed first (the finalizer of MurmurHash3), so that neighbouring seeds do not begin alike; never zero.
    let mixed = (seed ^ 0x9e3779b9) | 0;
    mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
    mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
    this.state = (mixed ^ (mixed >>> 16)) | 0 || 1;
  }

  /** An unsigned 32-bit number, never zero. */
  next(): number {
    let x = this.state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.state = x;
    return x >>> 0;
  }

  /** A number from 0 up to, not including, `bound`. */
  below(bound: number): number {
    return this.next() % bound;
  }
}
