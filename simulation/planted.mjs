// Faults planted in copies of the sources, to show that the checks of a simulated run can fail. Each is one edit of one
// file, made while a program is bundled: the tree and what is published never have it. `find` occurs once in its file;
// a test holds that, so that a fault moves along with the code that it spoils.
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { bundle } from './bundle.mjs';

/** @typedef {{ name: string, what: string, file: string, find: string, replace: string }} PlantedFault */

/** @type {readonly PlantedFault[]} */
export const plantedFaults = [
  {
    name: 'no-final-check',
    what: 'an event that came between the last look and the unmasking is not delivered',
    file: 'packages/xen/src/sim/two-level.ts',
    find: 'if ((Atomics.load(words, record + PENDING + word) & bit) !== 0) this.select(slot, word);',
    replace: '',
  },
  {
    name: 'lost-link',
    what: 'a port is linked behind one that the guest has taken already, and not told by a head',
    file: 'packages/xen/src/sim/fifo.ts',
    find: 'if ((word & FifoBit.linked) === 0) return false;',
    replace: '',
  },
  {
    name: 'moved-tail',
    what: 'a port that moves to another queue stays the last one of the queue that it was in',
    file: 'packages/xen/src/sim/fifo.ts',
    find: 'if (words[record + TAILS + last] === port) words[record + TAILS + last] = 0;',
    replace:
      'if (last === priority && words[record + TAILS + last] === port) words[record + TAILS + last] = 0;',
  },
  {
    name: 'lost-wake',
    what: 'netfront notifies one request too late',
    file: 'packages/xen/src/ring.ts',
    find: 'const event = Atomics.load(words, header + REQ_EVENT);',
    replace: 'const event = Atomics.load(words, header + REQ_EVENT) + 1;',
  },
  {
    name: 'lost-event',
    what: 'the machine loses an event now and then, which no hypervisor does',
    file: 'packages/xen/src/sim/seeded-faults.ts',
    find: "return this.draw('eventTwice') ? 'double' : undefined;",
    replace: "return this.random.below(40) === 0 ? ('lose' as 'double') : undefined;",
  },
  {
    name: 'double-completion',
    what: 'a frame that the NIC has sent is given back twice',
    file: 'packages/nic-vi/src/frame-vi.ts',
    find: 'if (sent) this.handler.completed(frame);',
    replace: 'if (sent) (this.handler.completed(frame), releaseChain(frame));',
  },
  {
    name: 'early-free',
    what: 'a frame goes home while the NIC still sends it',
    file: 'packages/nic-vi/src/frame-vi.ts',
    find: '    holdChain(frame);\n    this.statistics.txFrames++;',
    replace: '    this.statistics.txFrames++;',
  },
  {
    name: 'skipped-bound',
    what: 'netback does not ask whether the guest has posted as many buffers as a frame needs',
    file: 'packages/netback/src/receive-batch.ts',
    find: 'return this.posted >= slots;',
    replace: 'return true;',
  },
  {
    name: 'wrong-length',
    what: 'netback says a byte less than it copied',
    file: 'packages/netback/src/receive-batch.ts',
    find: 'this.answer(index, this.halves[(at >>> 1) + REQUEST_ID]!, flags, frame.length);',
    replace: 'this.answer(index, this.halves[(at >>> 1) + REQUEST_ID]!, flags, frame.length - 1);',
  },
  {
    name: 'unmap-skipped',
    what: "netback keeps the guest's ring pages mapped",
    file: 'packages/netback/src/connection.ts',
    find: 'for (const pages of this.mapped.splice(0)) pages.unmap();',
    replace: 'this.mapped.splice(0);',
  },
  {
    name: 'port-not-closed',
    what: "netback forgets a queue's event channels",
    file: 'packages/netback/src/queue.ts',
    find: 'for (const { channel } of this.doorbells) channel.close();',
    replace: '',
  },
  {
    name: 'reorder-on-attach',
    what: 'netfront offers a frame to the plugin while earlier ones of its flow are on the slow path',
    file: 'packages/netfront/src/fast-transmit.ts',
    find: 'if (this.slow.busy(bucket)) {',
    replace: 'if (bucket < 0) {',
  },
  {
    name: 'reorder-on-detach',
    what: 'a declined frame goes slow while earlier ones of its flow are on the fast path',
    file: 'packages/netfront/src/fast-transmit.ts',
    find: 'if (this.until === Until.fastGone && this.ordered && this.fast[bucket] !== 0) return Offer.kept;',
    replace: '',
  },
  {
    name: 'kept-frame-lost',
    what: 'the frame that netfront keeps for the plugin is forgotten when the plugin goes',
    file: 'packages/netfront/src/fast-transmit.ts',
    find: 'if (this.kept !== null) this.until = Until.fastGone;',
    replace: 'this.kept = null;',
  },
  {
    name: 'no-fence',
    what: "a new filter's frames are delivered before the slow path's are",
    file: 'packages/nic-vi/src/filter-fences.ts',
    find: 'if (!this.open.includes(filter)) return false;',
    replace: '',
  },
  {
    name: 'uncounted-loss',
    what: 'frames on the ring when the backend went are not counted',
    file: 'packages/netfront/src/transmit-ring.ts',
    find: 'this.counters.txUnanswered++;',
    replace: '',
  },
  {
    name: 'timer-left',
    what: "netback's stall timer goes on after its queue is closed",
    file: 'packages/netback/src/queue.ts',
    find: 'this.parts.stall.stop();',
    replace: '',
  },
  {
    name: 'static-grant-kept',
    what: 'netback keeps the pages mapped that a guest asked it to',
    file: 'packages/netback/src/static-grants.ts',
    find: 'for (const pages of this.held.values()) pages.unmap();',
    replace: '',
  },
  {
    name: 'headroom-not-taken-up',
    what: 'netback closes a device whose frontend changes something when it comes back',
    file: 'packages/xen/src/xenbus.ts',
    find: "    // It was changing something when the backend before this one went: its rings are there, and are taken up first.\n    Reconfiguring: 'connect',",
    replace: "    Reconfiguring: 'refuse',",
  },
  {
    name: 'endless-poll',
    what: "netback's queue always says that there is more to do",
    file: 'packages/netback/src/queue.ts',
    find: 'if (sent >= budget) return true;',
    replace: 'if (sent >= 0) return true;',
  },
  {
    name: 'pages-not-own',
    what: "netfront copies an untrusted backend's frames to pages that it has given back",
    file: 'packages/netfront/src/bounce.ts',
    find: '    this.memory = domain.memory;\n    this.pool = new PagePool(\n      count,\n      home,\n      () => domain.pages.free(home),',
    replace:
      '    domain.pages.free(home);\n    this.memory = domain.memory;\n    this.pool = new PagePool(\n      count,\n      home,\n      () => undefined,',
  },
];

const folder = fileURLToPath(new URL('dist/', import.meta.url));
/** Steps of each run. */
const STEPS = 400;

/**
 * Runs seeds against a copy with one fault until a check fails.
 * @param {PlantedFault} fault
 * @param {number} seeds at most
 * @returns {Promise<{ name: string, seeds: number, failure: string | null }>} how many seeds it took, and what was found
 */
export async function hunt(fault, seeds) {
  mkdirSync(folder, { recursive: true });
  const file = join(folder, `planted-${fault.name}.mjs`);
  writeFileSync(file, await bundle('simulate', [fault]));
  const trace = join(folder, `planted-${fault.name}.json`);
  const args = [
    file,
    '--json',
    '--stop',
    '--steps',
    String(STEPS),
    '--seeds',
    String(seeds),
    '--trace',
    trace,
  ];
  const { stdout, stderr, status, signal } = spawnSync(process.execPath, args, {
    encoding: 'utf8',
    maxBuffer: 2 ** 26,
  });
  if (stdout.startsWith('{')) {
    const { seeds: took, failures } = JSON.parse(stdout);
    return { name: fault.name, seeds: took, failure: failures[0]?.failure ?? null };
  }
  // A fault may be so bad that it ends the process: that is found too, but only where the run says in which seed.
  const ended = /^seed (\d+) ends the process: (.*)$/m.exec(stderr);
  if (ended !== null) return { name: fault.name, seeds: Number(ended[1]), failure: ended[2] ?? '' };
  throw new Error(
    `${fault.name}: the run ended with ${signal ?? status} and no report: ${stderr.slice(-400)}`,
  );
}

const HUNT_SEEDS = 1000;

/**
 * The command line of a hunt; ends the process where it makes no sense.
 * @param {string[]} args
 */
function huntOptions(args) {
  /** @param {string} what @returns {never} */
  const refuse = (what) => {
    console.error(`${what}; see --help`);
    process.exit(2);
  };
  try {
    const { values } = parseArgs({
      args,
      options: {
        planted: { type: 'boolean' },
        seeds: { type: 'string', default: String(HUNT_SEEDS) },
        fault: { type: 'string' },
        json: { type: 'boolean', default: false },
      },
    });
    const seeds = Number(values.seeds);
    if (!Number.isSafeInteger(seeds) || seeds < 1)
      refuse(`--seeds: expected a whole number from 1 on, saw ${JSON.stringify(values.seeds)}`);
    const faults = plantedFaults.filter(({ name }) => values.fault === undefined || name === values.fault);
    if (faults.length === 0)
      refuse(
        `--fault: expected one of ${plantedFaults.map(({ name }) => name).join(', ')}, saw ${values.fault}`,
      );
    return { seeds, faults, json: values.json };
  } catch (error) {
    return refuse(error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error));
  }
}

/**
 * Hunts planted faults, and prints a table.
 * @param {string[]} args the command line
 * @returns {Promise<boolean>} whether all were found
 */
export async function huntAll(args) {
  const { seeds, faults, json } = huntOptions(args);
  const all = [];
  for (const fault of faults) {
    const found = await hunt(fault, seeds);
    all.push({ ...found, what: fault.what });
    if (json) continue;
    const outcome = found.failure === null ? `NOT FOUND in ${seeds}` : `found after ${found.seeds}`;
    console.log(`${fault.name.padEnd(22)} ${outcome.padEnd(18)} ${fault.what}`);
    if (found.failure !== null)
      console.log(`${' '.repeat(42)}${(found.failure.split('\n')[0] ?? '').slice(0, 110)}`);
  }
  const missed = all.filter(({ failure }) => failure === null).length;
  if (json)
    console.log(
      JSON.stringify({ schema: 'netaccel.planted/1', stepsPerRun: STEPS, seeds, missed, faults: all }),
    );
  else console.log(`${all.length - missed} of ${all.length} planted faults were found`);
  return missed === 0;
}
