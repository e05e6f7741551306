// What the simulated machine adds: kernels, grant copies, notifications, scheduler steps. Prints the distribution
// over runs. Build first; `node packages/xen/bench/sim.mjs [path of another build's dist]` for a paired comparison.
import { pathToFileURL } from 'node:url';

const dist = process.argv[2] ? pathToFileURL(`${process.argv[2]}/`) : new URL('../dist/', import.meta.url);
const { GrantCopyBatch } = await import(new URL('index.js', dist).href);
const { SimMachine } = await import(new URL('sim/index.js', dist).href);

/**
 * @param {string} name
 * @param {number} perRun operations of one run
 * @param {() => void} run
 */
function measure(name, perRun, run) {
  for (let i = 0; i < 5; i++) run();
  const times = Array.from({ length: 31 }, () => {
    const start = process.hrtime.bigint();
    run();
    return Number(process.hrtime.bigint() - start) / perRun;
  }).sort((a, b) => a - b);
  const at = (/** @type {number} */ q) => times[Math.round(q * (times.length - 1))].toFixed(1);
  console.log(`${name.padEnd(44)} min ${at(0)}  median ${at(0.5)}  90 % ${at(0.9)} ns`);
}

console.log(`Node ${process.version}`);
const machine = new SimMachine({ seed: 1 });
const back = machine.createDomain(0);
const guest = machine.createDomain(1);
await machine.settle();

const COPIES = 64_000;
for (const length of [64, 1514]) {
  const from = back.pages.allocate(64);
  const to = back.pages.allocate(64);
  measure(`memory.copy, ${length} B`, COPIES, () => {
    for (let i = 0; i < COPIES; i++) back.memory.copy(to + (i & 63) * 4096, from + (i & 63) * 4096, length);
  });
  let sum = 0;
  measure(`memory.sum, ${length} B`, COPIES, () => {
    for (let i = 0; i < COPIES; i++) sum = back.memory.sum(from + (i & 63) * 4096, length, sum);
  });
  back.pages.free(from);
  back.pages.free(to);
}

const pages = guest.grants.share(0, 64, 'write');
const buffer = back.pages.allocate(64);
const batch = new GrantCopyBatch(64);
for (const concurrent of [false, true]) {
  /** @type {any} */ (machine.lab.core).concurrent = concurrent;
  for (const length of [0, 64, 1514]) {
    for (let i = 0; i < 64; i++) batch.fromGrant(pages.refs[i], 0, buffer + i * 4096, length);
    measure(`grant copy, ${length} B${concurrent ? ', concurrent' : ''}`, COPIES, () => {
      for (let i = 0; i < COPIES / 64; i++) back.foreign.copy(1, batch);
    });
    batch.clear();
  }
}
/** @type {any} */ (machine.lab.core).concurrent = false;
measure('GrantCopyBatch filled, one operation', COPIES, () => {
  for (let i = 0; i < COPIES / 64; i++) {
    batch.clear();
    for (let k = 0; k < 64; k++) batch.fromGrant(pages.refs[k], 0, buffer + k * 4096, 64);
  }
});

const STEPS = 100_000;
const tasks = Array.from({ length: 4 }, () => guest.loop.task(() => true));
for (const task of tasks) task.raise();
measure('scheduler step, 4 tasks that go on', STEPS, () => void machine.pump(STEPS));
for (const task of tasks) task.cancel();
machine.pump(1000);

// Both ends of a channel use the form that is named.
for (const form of ['2-level', 'fifo']) {
  const sender = machine.createDomain(undefined, form, { eventChannels: form });
  const receiver = machine.createDomain(undefined, form, { eventChannels: form });
  const end = receiver.events.allocateUnbound(sender.id, () => end.unmask());
  const other = sender.events.bindInterdomain(receiver.id, end.port, () => other.unmask());
  await machine.settle();
  measure(`notify and deliver, each a step, ${form}`, STEPS, () => {
    for (let i = 0; i < STEPS; i++) {
      other.notify();
      machine.pump(1);
    }
  });
  measure(`notify of what is pending already, ${form}`, STEPS, () => {
    for (let i = 0; i < STEPS; i++) other.notify();
  });
  machine.pump(10);
}
