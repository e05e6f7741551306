/**
 * How a guest's process learns that its domain was restored.
 *
 * Nothing tells user space. But Linux then sets every watch anew at the store that it finds (drivers/xen/xenbus,
 * `xs_resume`), and a watch fires when it is set: one on a key that nobody writes fires for nothing else. It does not
 * when a suspend was called off, after which grants and ports hold as before.
 */
import type { NativeStore } from './store.js';

/** The key that holds a domain's number: its toolstack writes it once, before the domain runs. */
const KEY = 'domid';

/** Looks out for the end of a domain's life. */
export class LifeWatch {
  /** Called once, when the domain was restored. */
  whenOver: () => void = () => undefined;
  /** The watch was just set, here, and will fire for that. */
  private expected = true;
  private over = false;

  /** Begins, before the store has a home: the path is then relative to whichever domain this is. */
  async begin(store: NativeStore): Promise<void> {
    await store.watch(KEY, () => {
      this.fired();
    });
  }

  /** The connection to the store is another one, on which the watch is set again. */
  expect(): void {
    this.expected = true;
  }

  private fired(): void {
    if (this.expected) {
      this.expected = false;
      return;
    }
    if (this.over) return;
    this.over = true;
    this.whenOver();
  }
}
