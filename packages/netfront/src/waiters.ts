/**
 * Whoever waits for something about the device to be so: asked again whenever anything has changed.
 */

/** Conditions that are waited for. */
export class Waiters {
  private readonly waiting = new Set<() => void>();

  /** Resolves when `condition` holds: at once, or after a later {@link look}. */
  until(condition: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = (): void => {
        if (!condition()) return;
        this.waiting.delete(look);
        resolve();
      };
      this.waiting.add(look);
      look();
    });
  }

  /** Something has changed. */
  look(): void {
    for (const look of [...this.waiting]) look();
  }
}
