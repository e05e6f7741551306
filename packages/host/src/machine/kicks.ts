/** Wakes domains that sleep in `poll`: one kicker for each eventfd, made when it is first needed. */
import { Kicker } from '../tap/index.js';
import type { Libc } from '../tap/index.js';

/** What a thread that may wake such domains is given: takes the handle of a waker. */
export function kicksBy(libc: Libc): (handle: number) => void {
  const kickers = new Map<number, Kicker>();
  return (handle) => {
    let kicker = kickers.get(handle);
    if (kicker === undefined) kickers.set(handle, (kicker = new Kicker(libc, handle)));
    kicker.kick();
  };
}
