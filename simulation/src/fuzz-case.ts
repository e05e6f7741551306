/**
 * One fuzzed case: a real driver against a hostile peer that performs a sequence of operations. Whatever the peer
 * does, the driver neither throws nor goes round for ever, touches nothing but what it owns or was granted, and gives
 * everything back.
 */
import { FramePool, PAGE_BYTES } from '@netaccel/core-hooks';
import type { FrameSink } from '@netaccel/core-hooks';
import { createVif, introduceDomain } from '@netaccel/host';
import { Netback } from '@netaccel/netback';
import { Netfront } from '@netaccel/netfront';
import { SimMachine } from '@netaccel/xen/sim';
import type { DomainOptions, SharedMemory, SimDomain } from '@netaccel/xen/sim';
import { HostileBackend, HostileFrontend } from '@netaccel/xen/testing';
import type { BackendOperation, FrontendOperation } from '@netaccel/xen/testing';
import { firstGroups } from './groups.js';
import type { Wishes } from './scenario.js';

/** What happens besides what the peer does. */
export type Surroundings =
  /** Time passes, in virtual milliseconds. */
  | { readonly op: 'wait'; readonly ms: number }
  /** The driver under test is given a frame to send to the peer. */
  | { readonly op: 'give'; readonly length: number }
  /** The guest asks for other room before received data: a netfront under test. */
  | { readonly op: 'headroom'; readonly bytes: number }
  /** It wants other groups, the first so many; null: all. */
  | { readonly op: 'groups'; readonly groups: number | null }
  /** The toolstack allows another payload, or says anything. */
  | { readonly op: 'mtu'; readonly value: string };

/** A case, as it is kept in a file. */
export type FuzzCase =
  | {
      readonly peer: 'frontend';
      readonly seed: number;
      readonly operations: readonly (FrontendOperation | Surroundings)[];
    }
  | {
      readonly peer: 'backend';
      readonly seed: number;
      /** What the driver asks for; nothing beyond the usual when left out. */
      readonly wishes?: Pick<Wishes, 'staticGrants' | 'hash' | 'headroom' | 'groups'> &
        Partial<Pick<Wishes, 'trusted'>>;
      readonly operations: readonly (BackendOperation | Surroundings)[];
    };

/** What can be wrong: the driver threw, went round for ever, touched what is not its own, or kept something. */
export const wrongs = ['crash', 'livelock', 'access', 'leak'] as const;
/** One of {@link wrongs}. */
export type Wrong = (typeof wrongs)[number];

/** What a case showed. */
export interface FuzzResult {
  /** What is wrong, or null. */
  readonly failure: string | null;
  /** Which kind of wrong that is, or null. */
  readonly wrong: Wrong | null;
  /** Pairs of states, reasons and counters that were reached, for coverage. */
  readonly reached: ReadonlySet<string>;
  readonly memory: SharedMemory;
}

const PAGES = 2048;
const SHAPE = { domains: 3, grantPages: 1, ports: 64, mappings: 64 };
const LIVELOCK_STEPS = 200_000;
const GUEST = 1;
const LONGEST = 9000;
const LIMITS = { smallBuffers: 16, largeBuffers: 2, backlogBytes: 128 * 1024, backlogFrames: 16 };
/** Longer than every deadline of a driver. */
const END_MS = 120_000;
/** Ring indices of the driver under test begin here. */
const NEAR_WRAP = 0xffff_fff0;

const MTU_KEY = `/local/domain/${GUEST}/device/vif/0/mtu`;
/** A key whose bytes are all different. */
const HASH = { key: Uint8Array.from({ length: 40 }, (_, i) => i * 7) };

const NOTHING = [null, null] as const;

/** The driver under test, as the case sees it. */
interface Target {
  give(length: number): void;
  /** Another thing is wanted of a peer; nothing where the driver wants nothing. */
  want(operation: Extract<Surroundings, { op: 'headroom' | 'groups' }>): void;
  /** State pair, reason and counters that are not zero. */
  reach(into: Set<string>): void;
  stop(): Promise<void>;
}

/** Runs a case. */
export async function runCase(fuzz: FuzzCase, memory?: SharedMemory): Promise<FuzzResult> {
  const machine = new SimMachine({
    ...SHAPE,
    pages: PAGES,
    seed: fuzz.seed,
    audit: true,
    accesses: false,
    maxSteps: LIVELOCK_STEPS,
    log: () => undefined,
    ...(memory === undefined ? {} : { memory }),
  });
  const reached = new Set<string>();
  const stray: string[] = [];
  const onRejection = (error: unknown): void =>
    void stray.push(`a rejection that nobody handles: ${text(error)}`);
  process.on('unhandledRejection', onRejection);
  try {
    const [wrong, failure] =
      (await perform(machine, fuzz, reached)) ??
      (stray.length > 0 ? (['crash', stray[0]!] as const) : NOTHING);
    return { failure, wrong, reached, memory: machine.memory };
  } catch (error) {
    return { failure: text(error), wrong: thrown(error), reached, memory: machine.memory };
  } finally {
    process.off('unhandledRejection', onRejection);
  }
}

/** A bit of the seed decides what a domain's event channels are. */
function kernelOf(bits: number): DomainOptions {
  return { eventChannels: (bits & 1) === 0 ? '2-level' : 'fifo' };
}

/** What is wrong, and which kind of wrong that is. */
type Finding = readonly [Wrong, string];

async function perform(machine: SimMachine, fuzz: FuzzCase, reached: Set<string>): Promise<Finding | null> {
  const back = machine.createDomain(0, 'back', kernelOf(fuzz.seed));
  const guest = machine.createDomain(GUEST, 'guest', kernelOf(fuzz.seed >>> 1));
  const during = async (work: Promise<unknown>): Promise<void> => {
    const state = { over: false };
    const end = (): void => void (state.over = true);
    work.then(end, end);
    await machine.runUntil(() => state.over, END_MS);
    await work;
  };
  await during(introduceDomain(back.store, 0, 'back'));
  await during(introduceDomain(back.store, GUEST, 'guest'));
  await during(
    createVif(back.store, {
      guest: GUEST,
      backend: 0,
      handle: 0,
      mac: '02:00:00:00:00:0a',
      mtu: 1500,
      accel: null,
      rate: null,
      limits: null,
    }),
  );
  const target = fuzz.peer === 'frontend' ? await netback(back, during) : netfront(guest, fuzz.wishes);
  const frontend = fuzz.peer === 'frontend' ? new HostileFrontend(guest, 0, 0) : null;
  const backend = fuzz.peer === 'backend' ? new HostileBackend(back, GUEST, 0) : null;
  const { violations } = machine.audit;
  let failure: Finding | null = null;
  for (const [n, operation] of fuzz.operations.entries()) {
    const at = (what: string): string => `operation ${n} (${JSON.stringify(operation)}): ${what}`;
    try {
      if (operation.op === 'wait') await machine.advance(operation.ms);
      else if (operation.op === 'give') target.give(operation.length);
      else if (operation.op === 'headroom' || operation.op === 'groups') target.want(operation);
      else if (operation.op === 'mtu') await during(back.store.write(MTU_KEY, operation.value));
      else
        await during(
          frontend?.perform(operation as FrontendOperation) ??
            backend!.perform(operation as BackendOperation),
        );
      await machine.settle(0);
    } catch (error) {
      failure = [thrown(error), at(text(error))];
    }
    if (violations.length > 0) failure = ['access', at(violations[0]!)];
    if (failure !== null) return failure;
    target.reach(reached);
  }
  await during(target.stop());
  frontend?.end();
  backend?.end();
  await machine.settle(END_MS);
  frontend?.end();
  machine.audit.checkFreePages();
  if (violations.length > 0) return ['access', `after the end: ${violations[0]!}`];
  for (const domain of [back, guest]) {
    const ledger = domain.ledger();
    if (Object.values(ledger).some((held) => held !== 0))
      return ['leak', `domain ${domain.id} holds something after the end: ${JSON.stringify(ledger)}`];
  }
  return null;
}

async function netback(
  domain: SimDomain,
  during: (work: Promise<unknown>) => Promise<void>,
): Promise<Target> {
  const pages = Math.ceil(LONGEST / PAGE_BYTES);
  const address = domain.pages.allocate(pages);
  const pool = new FramePool(1, address, pages * PAGE_BYTES);
  const network: FrameSink = { deliver: () => undefined, flush: () => undefined };
  const driver = new Netback({ domain, frontend: GUEST, handle: 0, network, limits: LIMITS });
  await during(driver.start());
  return {
    give: (length) => {
      const frame = pool.allocate();
      if (frame === null) return;
      frame.describe(frame.home, Math.min(Math.max(length, 1), LONGEST));
      driver.deliver(frame);
      driver.flush();
      frame.release();
    },
    want: () => undefined,
    reach: (into) => {
      const { state, frontend, reason } = driver.describe() as Record<string, string | null>;
      note(into, `netback ${state} while the frontend is ${frontend}`, reason, 'netback', {
        ...driver.statistics(),
      });
    },
    stop: async () => {
      await driver.stop();
      domain.pages.free(address);
    },
  };
}

function netfront(domain: SimDomain, wishes?: (FuzzCase & { peer: 'backend' })['wishes']): Target {
  const stack: FrameSink = { deliver: () => undefined, flush: () => undefined };
  const driver = new Netfront({
    domain,
    handle: 0,
    stack,
    firstIndex: NEAR_WRAP,
    transmitBuffers: { small: 16, large: 1 },
    receivePages: 32,
    ...(wishes !== undefined && {
      features: {
        staticGrants: wishes.staticGrants,
        hash: wishes.hash ? HASH : null,
        headroom: wishes.headroom,
        groups: firstGroups(wishes.groups),
        trusted: wishes.trusted ?? true,
      },
    }),
  });
  driver.start().catch(() => undefined);
  return {
    give: (length) => {
      const frame = driver.allocate(Math.min(Math.max(length, 1), LONGEST));
      if (frame === null) return;
      frame.describe(frame.home, Math.min(Math.max(length, 1), LONGEST));
      if (!driver.startXmit(frame, false)) frame.release();
    },
    want: (operation) => {
      if (operation.op === 'groups') driver.setGroups(firstGroups(operation.groups));
      else driver.setHeadroom(operation.bytes).catch(() => undefined);
    },
    reach: (into) => {
      const { frontend, backend, reason } = driver.describe() as Record<string, string | null>;
      note(into, `netfront ${frontend} while the backend is ${backend}`, reason, 'netfront', {
        ...driver.statistics().counters,
      });
    },
    stop: () => driver.stop(),
  };
}

/** Numbers in a reason are not another state. */
function note(
  into: Set<string>,
  states: string,
  reason: string | null | undefined,
  who: string,
  counters: Readonly<Record<string, unknown>>,
): void {
  into.add(states);
  if (typeof reason === 'string') into.add(`${who}: ${reason.replace(/\d+/g, '#').slice(0, 80)}`);
  for (const [name, value] of Object.entries(counters)) {
    if (typeof value === 'number' && value > 0) into.add(`${who} counts ${name}`);
    else if (typeof value === 'object' && value !== null)
      for (const [reasonName, n] of Object.entries(value))
        if (n > 0) into.add(`${who} counts ${name} ${reasonName}`);
  }
}

/** The machine says so when a lab finds no rest. */
function thrown(error: unknown): Wrong {
  return text(error).includes('no rest after') ? 'livelock' : 'crash';
}

function text(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
