/** A clock that stands until it is told to go on. */
interface Timer {
  readonly at: number;
  readonly run: () => void;
}

export class StandingClock {
  #nowMs = 0;
  readonly #timers: Timer[] = [];

  /** Timers that are set. */
  get waiting(): number {
    return this.#timers.length;
  }

  now(): number {
    return this.#nowMs;
  }

  after(ms: number, run: () => void): () => void {
    const timer = { at: this.#nowMs + ms, run };
    this.#timers.push(timer);
    return () => this.#remove(timer);
  }

  /** Goes on; timers run in the order of their times. */
  advance(ms: number): void {
    const end = this.#nowMs + ms;
    for (;;) {
      const next = this.#timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (next === undefined) break;
      this.#remove(next);
      this.#nowMs = Math.max(this.#nowMs, next.at);
      next.run();
    }
    this.#nowMs = end;
  }

  #remove(timer: Timer): void {
    const at = this.#timers.indexOf(timer);
    if (at >= 0) this.#timers.splice(at, 1);
  }
}
