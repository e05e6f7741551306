/**
 * Turns a pcapng timestamp, 64 bits in an interface's own unit, into seconds and nanoseconds.
 *
 * Decimal units down to a nanosecond, which are all that is met in practice, are divided in numbers; the rest
 * takes BigInt.
 */
import { TIME_RESOLUTION_BINARY } from './layouts.js';
import type { CaptureTime } from './packet.js';

const TWO_16 = 0x1_0000;
const TWO_32 = 0x1_0000_0000;
const NANOSECONDS = 1_000_000_000;

/** One interface's unit of time. */
export class TimeScale {
  private readonly unitsPerSecond: bigint;
  /** The same as a number, or 0 where long division in numbers would not be exact. */
  private readonly exactUnits: number;

  /**
   * @param resolution if_tsresol as it stands in the file; 6, microseconds, when the option is absent.
   * @param offsetSeconds if_tsoffset.
   */
  constructor(
    resolution: number,
    private readonly offsetSeconds: number,
  ) {
    const exponent = BigInt(resolution & ~TIME_RESOLUTION_BINARY);
    const binary = (resolution & TIME_RESOLUTION_BINARY) !== 0;
    this.unitsPerSecond = (binary ? 2n : 10n) ** exponent;
    this.exactUnits = !binary && exponent <= 9n ? Number(this.unitsPerSecond) : 0;
  }

  /** The moment of a timestamp whose halves are `high` and `low`. */
  moment(high: number, low: number): CaptureTime {
    const units = this.exactUnits;
    if (units === 0) return this.anyMoment(high, low);
    // Long division by 32, 16 and 16 bits: each remainder is below 10^9, so each step is below 2^53.
    const head = Math.floor(high / units);
    const middle = (high % units) * TWO_16 + (low >>> 16);
    const tail = (middle % units) * TWO_16 + (low & 0xffff);
    return {
      seconds:
        this.offsetSeconds + head * TWO_32 + Math.floor(middle / units) * TWO_16 + Math.floor(tail / units),
      nanoseconds: (tail % units) * (NANOSECONDS / units),
    };
  }

  private anyMoment(high: number, low: number): CaptureTime {
    const ticks = (BigInt(high) << 32n) | BigInt(low);
    const rest = ticks % this.unitsPerSecond;
    return {
      seconds: this.offsetSeconds + Number(ticks / this.unitsPerSecond),
      nanoseconds: Number((rest * BigInt(NANOSECONDS)) / this.unitsPerSecond),
    };
  }
}
