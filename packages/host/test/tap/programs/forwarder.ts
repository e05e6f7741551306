/**
 * Worker: moves the frames that one TAP's guest sends to another TAP's guest, headers and all, until the main
 * thread kicks it, which it does once.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { MAX_TAP_FRAME_BYTES, TapDevice, Waiter, loadLibc } from '../../../src/tap/index.js';
import type { TapDescription, TapStatistics } from '../../../src/tap/index.js';

/** What the main thread gives it. */
export interface ForwarderTask {
  readonly from: TapDescription;
  readonly to: TapDescription;
  readonly memory: SharedArrayBuffer;
  /** Where its frame buffer is. */
  readonly at: number;
}

/** What it answers: first the descriptor by which it is woken, in the end what it did. */
export type ForwarderReport =
  | { readonly kickDescriptor: number }
  | { readonly read: TapStatistics; readonly written: TapStatistics; readonly segmented: number };

const task = workerData as ForwarderTask;
const libc = await loadLibc();
const memory = new Uint8Array(task.memory);
const from = new TapDevice(libc, task.from, memory);
const to = new TapDevice(libc, task.to, memory);
const waiter = new Waiter(libc, [from.descriptor]);
const report = (message: ForwarderReport): void => parentPort?.postMessage(message);
report({ kickDescriptor: waiter.kickDescriptor });

let segmented = 0;
do {
  for (;;) {
    const frameBytes = from.readInto(task.at, MAX_TAP_FRAME_BYTES);
    if (frameBytes <= 0) break;
    if (from.readHeader.segmentation !== 0) segmented++;
    to.writeHeader.copyFrom(from.readHeader);
    to.writeFrom(task.at, frameBytes);
  }
} while ((waiter.wait(1000) & 1) === 0);
waiter.close();
report({ read: from.statistics, written: to.statistics, segmented });
