/** What domains say to the operator, so much of it and no more. */
import type { Clock, LogLevel } from '@netaccel/core-hooks';
import { LOG_LIMITS } from '../log-limits.js';
import type { DomainId } from '../machine.js';

/** One line. */
export interface LogLine {
  /** Milliseconds of the machine's clock. */
  readonly atMs: number;
  /** Which host of the lab. */
  readonly host: string;
  /** Who says it. */
  readonly domain: DomainId;
  /** How severe. */
  readonly level: LogLevel;
  /** What. */
  readonly message: string;
}

const { burst: BURST } = LOG_LIMITS;
const LINES_PER_MS = LOG_LIMITS.perSecond / 1000;

/** Keeps one domain's lines within {@link LOG_LIMITS}; how many were left out is said with the next one. */
export class LineLimit {
  private credit = BURST;
  private at = 0;
  private dropped = 0;

  /**
   * @param clock the domain's.
   * @param sink takes the lines that pass.
   */
  constructor(
    private readonly clock: Clock,
    private readonly sink: (level: LogLevel, message: string) => void,
  ) {}

  /** One line. */
  log(level: LogLevel, message: string): void {
    const now = this.clock.now();
    this.credit = Math.min(BURST, this.credit + (now - this.at) * LINES_PER_MS);
    this.at = now;
    if (this.credit < 1) {
      this.dropped++;
      return;
    }
    this.credit--;
    if (this.dropped > 0) this.sink('warn', `${this.dropped} lines left out`);
    this.dropped = 0;
    this.sink(level, message);
  }
}
