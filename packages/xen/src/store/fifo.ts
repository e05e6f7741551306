/**
 * A queue whose ends cost the same however long it is; for messages that wait. It owns nothing but the order.
 */
export class Fifo<T> {
  #items: T[] = [];
  #first = 0;

  /** How many wait. */
  get length(): number {
    return this.#items.length - this.#first;
  }

  /** Adds one at the end. */
  push(item: T): void {
    this.#items.push(item);
  }

  /** Takes the first one; undefined when there is none. */
  shift(): T | undefined {
    if (this.length === 0) return undefined;
    const item = this.#items[this.#first++];
    // Each item is moved once at most before as many were taken, so a step costs the same on average.
    if (this.#first * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#first);
      this.#first = 0;
    }
    return item;
  }

  /** Forgets them all. */
  clear(): void {
    this.#items = [];
    this.#first = 0;
  }
}
