// Two domains in worker threads: ring words streamed there and back, one notification there and back, and what a
// machine costs that does nothing. Build first. Two idle cores, or the figures are the scheduler's.
import { Worker } from 'node:worker_threads';
import { SharedMachine } from '@netaccel/xen/sim/workers';

const peer = new URL('../test/sim/workers/peer.mjs', import.meta.url);

/**
 * @param {string} first
 * @param {string} second
 * @param {number} count
 * @param {number} spinMicros
 * @param {'2-level' | 'fifo'} form of both domains' event channels
 * @returns {Promise<number>} milliseconds that the first says it took
 */
async function run(first, second, count, spinMicros, form) {
  const machine = SharedMachine.create({ pages: 4096, domains: 4 });
  const workers = [first, second].map((story, id) => {
    const seat = machine.createDomain(id, undefined, { eventChannels: form });
    const workerData = { seat, story, count, spinMicros };
    const worker = new Worker(peer, { workerData, transferList: [seat.storePort] });
    return { worker, exit: new Promise((resolve) => worker.once('exit', resolve)) };
  });
  const result = await new Promise((resolve) => workers[0].worker.once('message', resolve));
  machine.stop();
  await Promise.all(workers.map(({ exit }) => exit));
  machine.close();
  return result.ms;
}

/**
 * @param {string} name
 * @param {() => Promise<number>} once nanoseconds
 */
async function measure(name, once) {
  const times = [];
  for (let i = 0; i < 9; i++) times.push(await once());
  times.sort((a, b) => a - b);
  console.log(
    `${name.padEnd(60)} min ${times[0].toFixed(0)}  median ${times[4].toFixed(0)}  max ${times[8].toFixed(0)} ns`,
  );
}

console.log(`Node ${process.version}`);
for (const form of /** @type {const} */ (['2-level', 'fifo'])) {
  await measure(
    `ring word there and back, streamed, batches, ${form}`,
    async () => ((await run('front', 'back', 3e6, 30, form)) * 1e6) / 3e6,
  );
  await measure(
    `notification there and back, both spinning, ${form}`,
    async () => ((await run('ping', 'pong', 2e5, 30, form)) * 1e6) / 2e5,
  );
  await measure(
    `notification there and back, sleeping each time, ${form}`,
    async () => ((await run('ping', 'pong', 2e4, 0, form)) * 1e6) / 2e4,
  );
}

const machine = SharedMachine.create({ pages: 4096, domains: 4 });
const idle = [0, 1].map((id) => {
  const seat = machine.createDomain(id);
  // Unlike in the tests it sleeps no longer than a domain does.
  const workerData = { seat, story: 'idle', sleepMs: 100 };
  return new Worker(peer, { workerData, transferList: [seat.storePort] });
});
await new Promise((resolve) => setTimeout(resolve, 5000));
const before = process.cpuUsage();
await new Promise((resolve) => setTimeout(resolve, 10_000));
const { user, system } = process.cpuUsage(before);
console.log(`two idle domains and the main thread: ${((user + system) / 1e5).toFixed(2)} % of a core`);
machine.stop();
await Promise.all(idle.map((worker) => new Promise((resolve) => worker.once('exit', resolve))));
machine.close();
