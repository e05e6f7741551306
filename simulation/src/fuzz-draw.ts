/** Draws operations by seed: mostly what a peer on its way through the protocol does, and now and then anything. */
import { ControlType } from '@netaccel/xen/netif';
import type { Random } from '@netaccel/xen/sim';
import { ringIndices } from '@netaccel/xen/testing';
import type { BackendOperation, FrontendOperation, RingName } from '@netaccel/xen/testing';
import type { FuzzCase, Surroundings } from './fuzz-case.js';

const MOST_OPERATIONS = 60;
const NEAR_WRAP = 0xffff_ffc0;
const frontendKeys = [
  'tx-ring-ref',
  'rx-ring-ref',
  'event-channel',
  'event-channel-tx',
  'event-channel-rx',
  'multi-queue-num-queues',
  'queue-0/tx-ring-ref',
  'request-rx-copy',
  'feature-rx-notify',
  'feature-sg',
  'feature-gso-tcpv4',
  'feature-no-csum-offload',
  'ctrl-ring-ref',
  'event-channel-ctrl',
  'request-multicast-control',
  'xdp-headroom',
  'state',
  'mac',
];
const backendKeys = [
  'feature-rx-copy',
  'feature-sg',
  'feature-gso-tcpv4',
  'feature-gso-tcpv6',
  'feature-split-event-channels',
  'feature-multicast-control',
  'feature-dynamic-multicast-control',
  'feature-xdp-headroom',
  'feature-ctrl-ring',
  'multi-queue-max-queues',
  'carrier',
  'mac',
  'state',
  'accel-frontend',
  'online',
];
const odd = [
  '0',
  '1',
  '2',
  '-1',
  '',
  '4294967295',
  '4294967296',
  '99999999999999999999',
  'x',
  '0x10',
  ' 1',
  '1.5',
];
const limits = [0, 1, 2, 4, 8, 12, 60, 255, 256, 257, 4095, 4096, 4097, 0x7fff, 0x8000, 0xffff];

/** One operation of a peer, or of what is around it. */
export function drawOperation(random: Random, peer: FuzzCase['peer']): FuzzCase['operations'][number] {
  return peer === 'frontend' ? frontend(random) : backend(random);
}

/** Draws a case; which peer lies and how long it goes on are drawn, too, unless they are said. */
export function drawCase(
  random: Random,
  seed: number,
  peer: FuzzCase['peer'] = random.below(2) === 0 ? 'frontend' : 'backend',
  length = 3 + random.below(MOST_OPERATIONS),
): FuzzCase {
  return peer === 'frontend'
    ? { peer, seed, operations: beginning(random, frontBegins, length, () => frontend(random)) }
    : {
        peer,
        seed,
        wishes: {
          staticGrants: random.below(2) === 0,
          hash: random.below(2) === 0,
          headroom: random.below(2) === 0 ? 0 : edgy(random),
          groups: random.below(2) === 0 ? null : random.below(4),
          // Not drawn: the rest of a seed stays what it was.
          trusted: seed % 4 !== 0,
        },
        operations: beginning(random, backBegins, length, () => backend(random)),
      };
}

const frontBegins = (random: Random): FrontendOperation[] => [
  {
    op: 'open',
    queues: 1 + random.below(2),
    split: random.below(2) === 0,
    start: random.below(4) === 0 ? 0 : NEAR_WRAP,
  },
  { op: 'connect' },
  { op: 'post', queue: 0, count: 1 + random.below(200) },
];
const backBegins = (): BackendOperation[] => [{ op: 'advertise' }, { op: 'connect' }];

/** Most cases come as far as Connected first; the others never may. */
function beginning<Operation>(
  random: Random,
  begin: (random: Random) => Operation[],
  length: number,
  next: () => Operation,
): Operation[] {
  const operations = random.below(5) === 0 ? [] : begin(random);
  while (operations.length < length) operations.push(next());
  return operations;
}

const ring = (random: Random): RingName => (random.below(2) === 0 ? 'tx' : 'rx');
const bytes = (random: Random, count: number): number[] =>
  Array.from({ length: count }, () => random.below(256));
/** A number that a bound is likely to be wrong at, or any. */
const edgy = (random: Random, bits = 16): number =>
  random.below(4) > 0
    ? (limits[random.below(limits.length)]! + random.below(3) - 1) >>> 0
    : random.next() >>> (32 - bits);
/** By how much an index is wrong. */
const wrong = (random: Random): number =>
  random.below(3) === 0 ? random.next() : (random.below(2) === 0 ? 1 : -1) * (1 + random.below(300));

function peer(random: Random, keys: readonly string[]): FrontendOperation & BackendOperation {
  const queue = random.below(2);
  switch (random.below(7)) {
    case 0:
    case 1: {
      const name = keys[random.below(keys.length)]!;
      return { op: 'key', name, value: random.below(5) === 0 ? null : odd[random.below(odd.length)]! };
    }
    case 2:
      return { op: 'state', state: random.below(10) };
    case 3:
      return {
        op: 'index',
        queue,
        ring: ring(random),
        field: ringIndices[random.below(4)]!,
        by: wrong(random),
      };
    case 4:
      return { op: 'change', queue, ring: ring(random), back: random.below(8), bytes: bytes(random, 12) };
    case 5:
      return { op: 'storm', queue, ring: ring(random), count: 1 + random.below(64) };
    default:
      return random.below(6) === 0 ? { op: 'hangUp' } : { op: 'storm', queue, ring: ring(random), count: 1 };
  }
}

function around(random: Random): Surroundings {
  if (random.below(5) === 0) return change(random);
  return random.below(4) === 0
    ? { op: 'wait', ms: 10 ** random.below(5) }
    : { op: 'give', length: random.below(3) === 0 ? random.below(9000) : 60 };
}

/** Something that may change while a device is connected. */
function change(random: Random): Surroundings {
  switch (random.below(3)) {
    case 0:
      return { op: 'headroom', bytes: edgy(random) };
    case 1:
      return { op: 'groups', groups: random.below(3) === 0 ? null : random.below(4) };
    default:
      return {
        op: 'mtu',
        value: random.below(2) === 0 ? String(edgy(random)) : odd[random.below(odd.length)]!,
      };
  }
}

/** A request about hashing or static grants: mostly one that could be served. */
function control(random: Random): FrontendOperation {
  const number = (): number => (random.below(3) === 0 ? edgy(random, 32) : random.below(4));
  const isList = random.below(2) === 0;
  const type = isList
    ? ControlType.addGrefMapping + random.below(2)
    : random.below(4) === 0
      ? edgy(random)
      : random.below(12);
  const grants = random.below(3) === 0 ? edgy(random) : 1 + random.below(16);
  return {
    op: 'control',
    type,
    data: isList ? [random.below(2), 0, grants] : [number(), number(), number()],
    reference: isList ? 1 : ([0, 1, null] as const)[random.below(3)]!,
    page: isList ? { first: random.below(32), grants } : bytes(random, 40),
  };
}

function frontend(random: Random): FrontendOperation | Surroundings {
  const queue = random.below(2);
  switch (random.below(18)) {
    case 16:
    case 17:
      return control(random);
    case 0:
    case 1:
    case 2: {
      const page = random.below(6) === 0 ? 1000 + random.below(600) : random.below(16);
      const [offset, size] = [edgy(random), edgy(random)];
      return { op: 'request', queue, page, offset, flags: random.below(16), id: edgy(random), size };
    }
    case 3:
      return { op: 'slot', queue, bytes: bytes(random, 12) };
    case 4:
    case 5:
      return { op: 'packet', queue, length: 14 + random.below(9000) };
    case 6:
    case 7:
    case 8:
      return { op: 'publish', queue };
    case 9:
      return { op: 'post', queue, count: 1 + random.below(256) };
    case 10:
      return { op: 'take', queue };
    case 11:
      return random.below(3) === 0
        ? { op: 'revoke', queue, what: (['tx', 'rx', 'rings'] as const)[random.below(3)]! }
        : frontBegins(random)[random.below(3)]!;
    case 12:
    case 13:
      return around(random);
    default:
      return peer(random, frontendKeys);
  }
}

function backend(random: Random): BackendOperation | Surroundings {
  const queue = random.below(2);
  switch (random.below(16)) {
    case 0:
    case 1:
      return { op: 'take', queue, answer: random.below(3) > 0 };
    case 2:
    case 3:
      return {
        op: 'respond',
        queue,
        back: random.below(8),
        by: random.below(3) === 0 ? edgy(random) : 0,
        status: random.below(4) - 2,
      };
    case 4:
    case 5:
    case 6:
      return { op: 'packet', queue, length: 14 + random.below(9000) };
    case 7:
    case 8: {
      const status = random.below(3) === 0 ? -random.below(0x8000) : edgy(random) & 0x7fff;
      return {
        op: 'receive',
        queue,
        id: edgy(random),
        offset: edgy(random),
        flags: random.below(32),
        status,
      };
    }
    case 9:
      return {
        op: 'extra',
        queue,
        type: random.below(8),
        more: random.below(3) === 0,
        data: bytes(random, 6),
      };
    case 10:
      return random.below(4) === 0 ? { op: 'disconnect' } : backBegins()[random.below(2)]!;
    case 11:
    case 12:
    case 13:
      return around(random);
    default:
      return peer(random, backendKeys);
  }
}
