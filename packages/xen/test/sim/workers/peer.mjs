// A domain in a worker thread, for workers.test.ts: `workerData.story` names what it does. It imports the built
// package, since Node 20 cannot run a worker from TypeScript.
import { parentPort, workerData } from 'node:worker_threads';
import { BackRing, FrontRing, GrantCopyBatch, GrantStatus, initialiseRing } from '@netaccel/xen';
import { Random } from '@netaccel/xen/sim';
import { joinMachine } from '@netaccel/xen/sim/workers';

const { seat, story, count } = workerData;
const { domain, loop } = joinMachine(seat.description, seat.id, {
  storePort: seat.storePort,
  eventChannels: seat.eventChannels,
  // A lost wake then shows as a test that takes too long.
  sleepMs: workerData.sleepMs ?? 60_000,
  spinMicros: workerData.spinMicros,
});
const { words } = domain.memory;
const PEER = 1 - seat.id;
const SLOTS = 256;
const SLOT_BYTES = 8;
const CHANNELS = 60;

/** @param {unknown} result */
function finish(result) {
  parentPort.postMessage(result);
  loop.stop();
}

/** @param {string} name */
const own = (name) => `/tool/${name}`;

/** Domain 0 tells, domain 1 hears. @param {Record<string, number>} values */
async function tell(values) {
  for (const [name, value] of Object.entries(values)) {
    await domain.store.write(own(name), String(value));
    await domain.store.setPermissions(own(name), [{ domid: 0, access: 'read' }]);
  }
  await domain.store.write(own('ready'), '1');
  await domain.store.setPermissions(own('ready'), [{ domid: 0, access: 'read' }]);
}

/** @param {string[]} names @returns {Promise<number[]>} */
async function hear(names) {
  await new Promise((resolve) => {
    const look = async () => {
      const ready = await domain.store.readOptional(own('ready')).catch(() => null);
      if (ready === null) loop.after(1, () => void look());
      else resolve(undefined);
    };
    void look();
  });
  return Promise.all(names.map(async (name) => Number(await domain.store.read(own(name)))));
}

/** How many words of a page are not its value, looked at once each: it may be filled just now, and is zero before. @param {number} at */
function foreignWords(at) {
  return words.subarray(at, at + 1024).reduce((n, word) => (word === 0x600d || word === 0 ? n : n + 1), 0);
}

const stories = {
  /** `count` requests through a ring and their answers back, notified only when the peer asked to be. */
  async front() {
    const page = domain.grants.share(PEER, 1, 'write');
    initialiseRing(domain.memory, page.address, 0xffff_ff00);
    const ring = new FrontRing(domain.memory, page.address, SLOTS, SLOT_BYTES, 0xffff_ff00);
    let sent = 0;
    let answered = 0;
    let began = 0;
    const task = loop.task(() => {
      const waiting = ring.available();
      if (waiting < 0) throw new Error('the ring was broken');
      if (answered === 0) began = loop.now();
      for (let i = 0; i < waiting; i++) {
        const got = words[ring.slot(ring.consumed) >>> 2];
        if (got !== (answered ^ 0x5555)) throw new Error(`answer ${answered} is ${got}`);
        ring.consumed = (ring.consumed + 1) >>> 0;
        answered++;
      }
      while (ring.free > 0 && sent < count) {
        words[ring.slot(ring.produced) >>> 2] = sent++;
        ring.produced = (ring.produced + 1) >>> 0;
      }
      if (ring.publish()) channel.notify();
      if (answered === count) finish({ answered, ms: loop.now() - began, counters: loop.counters });
      return ring.arm() !== 0;
    });
    const channel = domain.events.allocateUnbound(PEER, () => {
      channel.unmask();
      task.raise();
    });
    await tell({ ref: page.refs[0], port: channel.port });
    task.raise();
  },

  async back() {
    const [ref, port] = await hear(['ref', 'port']);
    const mapped = domain.foreign.map(PEER, [ref], 'write');
    const ring = new BackRing(domain.memory, mapped.addresses[0], SLOTS, SLOT_BYTES);
    let expected = 0;
    const task = loop.task((budget) => {
      const waiting = ring.available();
      if (waiting < 0) throw new Error('the ring was broken');
      for (let i = 0; i < Math.min(waiting, budget); i++) {
        const at = ring.slot(ring.consumed) >>> 2;
        if (words[at] !== expected) throw new Error(`request ${expected} is ${words[at]}`);
        words[at] = expected ^ 0x5555;
        expected++;
        ring.consumed = (ring.consumed + 1) >>> 0;
        ring.produced = (ring.produced + 1) >>> 0;
      }
      if (ring.publish()) channel.notify();
      if (expected === count) {
        parentPort.postMessage({ counters: loop.counters });
        return false;
      }
      return ring.arm() !== 0;
    });
    const channel = domain.events.bindInterdomain(PEER, port, () => {
      channel.unmask();
      task.raise();
    });
  },

  /** `count` notifications to and fro, each the only one under way. */
  async ping() {
    const page = domain.grants.share(PEER, 1, 'write');
    const at = page.address >>> 2;
    let seen = 0;
    let began = 0;
    const channel = domain.events.allocateUnbound(PEER, () => {
      channel.unmask();
      if (Atomics.load(words, at + 1) !== seen + 1) return;
      if (seen === 0) began = loop.now();
      if (++seen === count) return finish({ seen, ms: loop.now() - began, counters: loop.counters });
      Atomics.store(words, at, seen + 1);
      channel.notify();
    });
    await tell({ ref: page.refs[0], port: channel.port });
    Atomics.store(words, at, 1);
    channel.notify();
  },

  async pong() {
    const [ref, port] = await hear(['ref', 'port']);
    const at = domain.foreign.map(PEER, [ref], 'write').addresses[0] >>> 2;
    const channel = domain.events.bindInterdomain(PEER, port, () => {
      channel.unmask();
      const asked = Atomics.load(words, at);
      if (asked === Atomics.load(words, at + 1)) return;
      Atomics.store(words, at + 1, asked);
      channel.notify();
    });
  },

  /** As ping, on many channels at once, of all priorities. */
  async juggle() {
    const at = domain.grants.share(PEER, 1, 'write').address >>> 2;
    let left = CHANNELS;
    const channels = Array.from({ length: CHANNELS }, (_, i) => {
      let seen = 0;
      const channel = domain.events.allocateUnbound(PEER, () => {
        channel.unmask();
        if (Atomics.load(words, at + 2 * i + 1) !== seen + 1) return;
        if (++seen === count) return --left === 0 ? finish({ left, form: domain.events.form }) : undefined;
        Atomics.store(words, at + 2 * i, seen + 1);
        channel.notify();
      });
      channel.setPriority(i % 16);
      return channel;
    });
    await tell({ ref: 8, port: channels[0].port });
    for (const [i, channel] of channels.entries()) {
      Atomics.store(words, at + 2 * i, 1);
      channel.notify();
    }
  },

  async answer() {
    const [ref, port] = await hear(['ref', 'port']);
    const at = domain.foreign.map(PEER, [ref], 'write').addresses[0] >>> 2;
    for (let i = 0; i < CHANNELS; i++) {
      const channel = domain.events.bindInterdomain(PEER, port + i, () => {
        channel.unmask();
        const asked = Atomics.load(words, at + 2 * i);
        if (asked === Atomics.load(words, at + 2 * i + 1)) return;
        Atomics.store(words, at + 2 * i + 1, asked);
        channel.notify();
      });
      channel.setPriority((i * 7) % 16);
    }
  },

  /** Grants a page of one value, ends the grant at any moment, and fills the page with another value at once. */
  async revoke() {
    const board = domain.grants.share(PEER, 1, 'write').address >>> 2;
    await tell({ ref: 8 });
    const value = 0x600d;
    let kept = 0;
    let round = 0;
    const task = loop.task(() => {
      if (Atomics.load(words, board + 2) === 0) return true; // the copier is not there yet
      const page = domain.grants.share(PEER, 1, 'read');
      const at = page.address >>> 2;
      words.fill(value, at, at + 1024);
      Atomics.store(words, board, page.refs[0]);
      for (let i = round % 50; i > 0; i--) Atomics.load(words, board);
      if (page.release()) words.fill(0xbad, at, at + 1024);
      else kept++;
      if (++round < count) return true;
      Atomics.store(words, board + 1, 1);
      domain.grants.retry();
      finish({ round, kept, grants: domain.ledger().grants });
      return false;
    });
    task.raise();
  },

  /** Copies whatever is granted, all the time: what it gets is the value or a status, never anything else. */
  async copy() {
    const [ref] = await hear(['ref']);
    const board = domain.foreign.map(PEER, [ref], 'write').addresses[0] >>> 2;
    Atomics.store(words, board + 2, 1);
    const own = domain.pages.allocate(8);
    const batch = new GrantCopyBatch(8);
    const seen = { good: 0, refused: 0, bad: 0 };
    const task = loop.task(() => {
      batch.clear();
      const target = Atomics.load(words, board);
      for (let i = 0; i < 8; i++) batch.fromGrant(target, 0, own + i * 4096, 4096);
      domain.foreign.copy(PEER, batch);
      for (let i = 0; i < 8; i++) {
        if (batch.status[i] !== GrantStatus.okay) seen.refused++;
        else seen[foreignWords((own + i * 4096) >>> 2) === 0 ? 'good' : 'bad']++;
      }
      if (Atomics.load(words, board + 1) === 0) return true;
      domain.pages.free(own);
      finish(seen);
      return false;
    });
    task.raise();
  },

  /** Grants a page of one value, and ends the grant at any moment; whoever has it mapped keeps it, and its value. */
  async grant() {
    const board = domain.grants.share(PEER, 1, 'write').address >>> 2;
    await tell({ ref: 8 });
    let kept = 0;
    let round = 0;
    const task = loop.task(() => {
      if (Atomics.load(words, board + 2) === 0) return true; // the mapper is not there yet
      const page = domain.grants.share(PEER, 1, 'write');
      const at = page.address >>> 2;
      words.fill(0x600d, at, at + 1024);
      Atomics.store(words, board, page.refs[0]);
      for (let i = round % 200; i > 0; i--) Atomics.load(words, board);
      if (page.release()) words.fill(0xbad, at, at + 1024);
      else kept++;
      if (++round < count) return true;
      Atomics.store(words, board + 1, 1);
      const last = loop.task(() => {
        // The mapper lets go of its last one in its own time.
        domain.grants.retry();
        if (domain.ledger().grants > 1) return true;
        finish({ round, kept, grants: domain.ledger().grants });
        return false;
      });
      last.raise();
      return false;
    });
    task.raise();
  },

  /** Maps whatever is granted, looks at it, and unmaps it, twice: what it sees while it has it is the value. */
  async map() {
    const [ref] = await hear(['ref']);
    const board = domain.foreign.map(PEER, [ref], 'write').addresses[0] >>> 2;
    Atomics.store(words, board + 2, 1);
    const seen = { mapped: 0, refused: 0, bad: 0 };
    const task = loop.task(() => {
      try {
        const page = domain.foreign.map(PEER, [Atomics.load(words, board)], 'write');
        seen.mapped++;
        seen.bad += foreignWords(page.addresses[0] >>> 2);
        page.unmap();
        page.unmap();
      } catch (error) {
        if (/** @type {{ code?: string }} */ (error).code !== 'BAD_GRANT') throw error;
        seen.refused++;
      }
      if (Atomics.load(words, board + 1) === 0) return true;
      finish({ ...seen, mappings: domain.ledger().mappings });
      return false;
    });
    task.raise();
  },

  /** Takes and gives back pages at random; no page is ever anybody else's meanwhile. */
  async pages() {
    const random = new Random(seat.id + 1);
    /** @type {{ address: number, pages: number }[]} */
    const held = [];
    const mark = seat.id + 0x100;
    let rounds = count;
    const task = loop.task(() => {
      for (let i = 0; i < 64 && rounds > 0; i++, rounds--) {
        if (held.length < 40 && random.below(2) === 0) {
          const pages = 1 + random.below(4);
          const address = domain.pages.allocate(pages);
          words.fill(mark, address >>> 2, (address + pages * 4096) >>> 2);
          held.push({ address, pages });
        } else if (held.length > 0) {
          const [{ address, pages }] = held.splice(random.below(held.length), 1);
          for (let at = address; at < address + pages * 4096; at += 64)
            if (words[at >>> 2] !== mark) throw new Error(`page at ${at} is not ours alone`);
          domain.pages.free(address);
        }
      }
      if (rounds > 0) return true;
      for (const { address } of held) domain.pages.free(address);
      finish(domain.ledger());
      return false;
    });
    task.raise();
  },

  /** Opens a port for the peer, and closes it at any moment, bound or not. */
  async open() {
    const board = domain.grants.share(PEER, 1, 'write').address >>> 2;
    await tell({ ref: 8 });
    const random = new Random(5);
    let rounds = count;
    let events = 0;
    const task = loop.task(() => {
      if (Atomics.load(words, board + 2) === 0) return true; // the peer is not there yet
      const channel = domain.events.allocateUnbound(PEER, () => {
        events++;
        channel.unmask();
      });
      Atomics.store(words, board, channel.port);
      for (let i = random.below(2000); i > 0; i--) Atomics.load(words, board);
      domain.events.deliver();
      channel.notify();
      channel.close();
      if (--rounds > 0) return true;
      Atomics.store(words, board + 1, 1);
      finish({ events, ports: domain.ledger().ports });
      return false;
    });
    task.raise();
  },

  /** Binds whatever port is open, notifies, and closes. */
  async bind() {
    const [ref] = await hear(['ref']);
    const board = domain.foreign.map(PEER, [ref], 'write').addresses[0] >>> 2;
    Atomics.store(words, board + 2, 1);
    let bound = 0;
    const task = loop.task(() => {
      try {
        const channel = domain.events.bindInterdomain(PEER, Atomics.load(words, board), () =>
          channel.unmask(),
        );
        bound++;
        channel.notify();
        channel.close();
      } catch (error) {
        if (/** @type {{ code?: string }} */ (error).code !== 'BAD_PORT') throw error;
      }
      if (Atomics.load(words, board + 1) === 0) return true;
      finish({ bound, ports: domain.ledger().ports });
      return false;
    });
    task.raise();
  },

  /** Does nothing at all until it is told to stop. */
  async idle() {
    parentPort.postMessage('up');
  },

  /** Throws in a task. */
  async fail() {
    loop
      .task(() => {
        throw new Error('a task of this domain threw');
      })
      .raise();
  },

  /** Hears the main thread's messages while it has nothing else to do. */
  async listen() {
    parentPort.on('message', (message) => finish(message));
    parentPort.postMessage('up');
  },
};

void stories[story]();
await loop.run();
parentPort.close();
