// What a hostile guest runs: cases of operations drawn by seed, as the fuzzer draws them, performed by a frontend that
// lies, on the real devices. `hostile.mjs SEED CASES`: says `@cases` with what it did, and exits by itself.
import { openNativeDomain } from '@netaccel/xen/native';
import { Random } from '@netaccel/xen/sim';
import { HostileFrontend } from '@netaccel/xen/testing';
import { drawCase } from '../../../simulation/src/fuzz-draw.ts';

const LONGEST_WAIT_MS = 100;
const [seed, cases] = process.argv.slice(2).map(Number);
const random = new Random(seed);
const domain = await openNativeDomain({ log: () => undefined });
const peer = new HostileFrontend(domain, 0, 0);
const wait = (ms) => new Promise((resolve) => domain.loop.after(ms, resolve));
const performed = {};

for (let n = 0; n < cases; n++) {
  for (const operation of drawCase(random, seed, 'frontend').operations) {
    if (operation.op === 'wait') await wait(Math.min(operation.ms, LONGEST_WAIT_MS));
    else if (operation.op !== 'give' && (await peer.perform(operation)))
      performed[operation.op] = (performed[operation.op] ?? 0) + 1;
  }
  // It starts over, as a frontend may, so that the next case is not refused at the door.
  for (const state of ['6', '1']) {
    await peer.perform({ op: 'key', name: 'state', value: state });
    await wait(LONGEST_WAIT_MS);
  }
}
peer.end();
console.log(`@cases ${JSON.stringify(performed)}`);
domain.close();
