// What a hostile vif costs its neighbours: `node bench/hostile-neighbour.mjs`, after a build; `--json` for machines.
//
// Two guests exchange frames through the real netfront and netback on the one-thread machine, in turns alone and
// beside a third guest that attacks. Time that the attacker itself uses is its own and is taken off; what the
// driver domain and the neighbours' drivers need is not. The clock goes on by the same amount each batch.
import { Netback } from '@netaccel/netback';
import { Netfront } from '@netaccel/netfront';
import { FrontRing, initialiseRing } from '@netaccel/xen';
import { RX_RING_SLOTS, TX_RING_SLOTS, rxRequest, txRequest } from '@netaccel/xen/netif';
import { SimMachine } from '@netaccel/xen/sim';

const BATCH = 64;
const BATCHES = 150;
const STORE_REQUESTS = 64;
const ROUNDS = 61;
const BATCH_MS = 0.1;
const FRAME_BYTES = 1514;
const GOAL_PERCENT = 10;

const machine = new SimMachine({ seed: 1, pages: 8192 });
const dom0 = machine.createDomain(0);

/** @template T @param {Promise<T>} work */
async function run(work) {
  let over = false;
  const done = () => {
    over = true;
  };
  work.then(done, done);
  await machine.runUntil(() => over);
  return work;
}

/** @param {number} guest */
async function makeVif(guest) {
  const front = `/local/domain/${guest}/device/vif/0`;
  const back = `/local/domain/0/backend/vif/${guest}/0`;
  const common = { handle: '0', mac: `00:16:3e:00:00:0${guest}`, state: '1' };
  await dom0.store.transaction(async (tx) => {
    /** @param {string} path @param {number} owner @param {number} reader @param {Record<string, string>} values */
    const directory = async (path, owner, reader, values) => {
      await dom0.store.mkdir(path, tx);
      for (const [key, value] of Object.entries(values)) await dom0.store.write(`${path}/${key}`, value, tx);
      for (const node of [path, ...Object.keys(values).map((key) => `${path}/${key}`)])
        await dom0.store.setPermissions(
          node,
          [
            { domid: owner, access: 'none' },
            { domid: reader, access: 'read' },
          ],
          tx,
        );
    };
    await directory(`/local/domain/${guest}/error`, guest, 0, {});
    await directory(front, guest, 0, { ...common, backend: back, 'backend-id': '0' });
    const ends = { frontend: front, 'frontend-id': String(guest), online: '1' };
    await directory(back, 0, guest, { ...common, ...ends });
  });
}

/** @param {number} id @param {import('@netaccel/core-hooks').FrameSink} network */
async function vif(id, network) {
  const domain = machine.createDomain(id);
  await run(makeVif(id));
  const back = new Netback({ domain: dom0, frontend: id, handle: 0, network });
  await run(back.start());
  return { domain, back };
}

let received = 0;
/** @type {Netback[]} */
const backs = [];
const toOther = (/** @type {number} */ n) => ({
  deliver: (/** @type {import('@netaccel/core-hooks').Frame} */ frame) => backs[n]?.deliver(frame),
  flush: () => backs[n]?.flush(),
});
/** @type {Netfront[]} */
const fronts = [];
for (const id of [1, 2]) {
  const { domain, back } = await vif(id, toOther(2 - id));
  backs.push(back);
  const stack = { deliver: () => void received++, flush: () => undefined };
  const front = new Netfront({ domain, handle: 0, stack });
  await run(front.start());
  fronts.push(front);
}
const sink = { deliver: () => undefined, flush: () => undefined };
const { domain: attacker, back: target } = await vif(3, sink);

/** Connects as a frontend would, with rings that it then abuses. */
async function connect() {
  const path = 'device/vif/0';
  const { store } = attacker;
  const page = attacker.grants.share(0, 2, 'write');
  const txPage = page.address;
  initialiseRing(attacker.memory, txPage);
  initialiseRing(attacker.memory, page.address + 4096);
  const tx = new FrontRing(attacker.memory, txPage, TX_RING_SLOTS, txRequest.size);
  new FrontRing(attacker.memory, page.address + 4096, RX_RING_SLOTS, rxRequest.size);
  const channel = attacker.events.allocateUnbound(0, () => channel.unmask());
  await store.transaction(async (tx) => {
    const keys = {
      'tx-ring-ref': page.refs[0],
      'rx-ring-ref': page.refs[1],
      'event-channel': channel.port,
      'request-rx-copy': 1,
      'feature-rx-notify': 1,
      state: 4,
    };
    for (const [key, value] of Object.entries(keys)) await store.write(`${path}/${key}`, String(value), tx);
  });
  return { page, tx, channel };
}

const peer = await run(connect());
await machine.settle(0);

/** @type {Record<string, () => void>} */
const attacks = {
  // Events without work, as many as it likes.
  'event storm': () => {
    for (let i = 0; i < 100; i++) peer.channel.notify();
  },
  // The neighbours' frames flooded to a vif that never posts a buffer: all of it is the driver domain's work.
  'no receive buffers': () => {
    for (let i = 0; i < BATCH && flooded !== null; i++) target.deliver(flooded);
    target.flush();
  },
  // Its own keys written as fast as the store answers: requests, and events for the driver domain.
  'store flood': () => {
    for (; asked < STORE_REQUESTS; asked++) {
      const answered = () => void asked--;
      attacker.store.write('device/vif/0/feature-flood', String(asked)).then(answered, answered);
    }
  },
  // Packets that cannot be copied, each mixed with one that is malformed: the most work for no frame.
  'malformed packets': () => {
    const { tx, channel } = peer;
    tx.consumed = (tx.consumed + Math.max(0, tx.available())) >>> 0;
    for (let free = tx.free; free > 0; free--) {
      const at = tx.slot(tx.produced) >>> 2;
      attacker.memory.words[at] = 0xffff_ffff;
      attacker.memory.words[at + 1] = 0;
      attacker.memory.words[at + 2] = free % 2 === 0 ? 0 : 100 << 16;
      tx.produced = (tx.produced + 1) >>> 0;
    }
    tx.publish();
    channel.notify();
  },
};
/** @type {import('@netaccel/core-hooks').Frame | null} */
let flooded = null;
/** No attack. */
const peace = () => undefined;
/** Requests to the store that have no answer yet. */
let asked = 0;

/** Microseconds of processor time that this process has used: what others on the machine take is not in it. */
const now = () => {
  const { user, system } = process.cpuUsage();
  return user + system;
};

/**
 * One stretch of traffic; answers its microseconds of processor time per frame.
 * @param {() => void} attack what happens beside it
 * @param {boolean} own whether the time of the attack itself, and of reading the clock around it, is the attacker's own
 */
async function stretch(attack, own) {
  const before = received;
  let ownUs = 0;
  const start = now();
  for (let batch = 0; batch < BATCHES; batch++) {
    for (const front of fronts)
      for (let i = 0; i < BATCH; i++) {
        const frame = front.allocate(FRAME_BYTES);
        if (frame === null) break;
        frame.describe(frame.home, FRAME_BYTES);
        flooded ??= frame;
        if (!front.startXmit(frame, i < BATCH - 1)) frame.release();
      }
    // Without an attack, too: reading the clock takes some, and costs as much as a tenth of the frames.
    const at = own ? now() : 0;
    attack();
    if (own) ownUs += now() - at;
    await machine.settle(BATCH_MS);
  }
  return (now() - start - ownUs) / (received - before);
}

/** Of many stretches the fastest tenth: what else the machine does only ever adds. @param {number[]} values */
const quiet = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 10)] ?? 0;

/** @type {Record<string, { aloneUs: number, attackedUs: number, costPercent: number }>} */
const figures = {};
for (const [name, attack] of Object.entries(attacks)) {
  // All of that one is the driver domain's work.
  const own = name !== 'no receive buffers';
  await stretch(peace, own);
  await stretch(attack, own);
  /** @type {number[]} */
  const alone = [];
  /** @type {number[]} */
  const attacked = [];
  for (let round = 0; round < ROUNDS; round++) {
    // Either comes first in turns, so that neither gains by its place.
    for (const first of round % 2 === 0 ? [true, false] : [false, true])
      if (first) alone.push(await stretch(peace, own));
      else attacked.push(await stretch(attack, own));
  }
  const [aloneUs, attackedUs] = [quiet(alone), quiet(attacked)];
  figures[name] = { aloneUs, attackedUs, costPercent: 100 * (1 - aloneUs / attackedUs) };
}
if (process.argv.includes('--json')) console.log(JSON.stringify({ node: process.version, figures }, null, 2));
else console.table(figures);
const over = Object.entries(figures).filter(([, { costPercent }]) => costPercent >= GOAL_PERCENT);
for (const [name, { costPercent }] of over)
  console.log(
    `${name}: expected under ${GOAL_PERCENT} % of the neighbours' throughput, saw ${costPercent.toFixed(1)} %`,
  );
console.log(`attacker: ${JSON.stringify(target.describe())}`);
process.exitCode = over.length === 0 ? 0 : 1;
