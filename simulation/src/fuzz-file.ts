/** A fuzzed case as a file has it, which people edit and send to each other: what is wrong with one is said in words. */
import type { FuzzCase } from './fuzz-case.js';

type Name<Peer extends FuzzCase['peer']> = (FuzzCase & { peer: Peer })['operations'][number]['op'];

const around = { wait: true, give: true, headroom: true, groups: true, mtu: true } as const;
const onAnyRing = { key: true, state: true, connect: true, index: true, change: true, storm: true } as const;
/** What each peer can perform: a name that is none would pass for a case in which all is well. */
const names: { readonly [Peer in FuzzCase['peer']]: Readonly<Record<Name<Peer>, true>> } = {
  frontend: {
    ...around,
    ...onAnyRing,
    hangUp: true,
    open: true,
    control: true,
    request: true,
    slot: true,
    packet: true,
    publish: true,
    post: true,
    take: true,
    revoke: true,
  },
  backend: {
    ...around,
    ...onAnyRing,
    hangUp: true,
    advertise: true,
    disconnect: true,
    take: true,
    respond: true,
    packet: true,
    receive: true,
    extra: true,
  },
};

/** The case of a file's text, or what is wrong with it. */
export function parseCase(text: string): FuzzCase | string {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return `expected JSON, saw ${(error as Error).message}`;
  }
  if (!isRecord(value)) return 'expected an object with peer, seed and operations';
  const { peer, seed, operations, wishes } = value;
  if (peer !== 'frontend' && peer !== 'backend')
    return `peer: expected frontend or backend, saw ${JSON.stringify(peer)}`;
  if (!Number.isSafeInteger(seed)) return `seed: expected a whole number, saw ${JSON.stringify(seed)}`;
  if (wishes !== undefined && (peer === 'frontend' || !isRecord(wishes)))
    return `wishes: expected an object, and only where the backend is the peer, saw ${JSON.stringify(wishes)}`;
  if (!Array.isArray(operations)) return `operations: expected a list, saw ${JSON.stringify(operations)}`;
  const known = Object.keys(names[peer]);
  const odd = operations.findIndex((each) => !isRecord(each) || !known.includes(String(each['op'])));
  if (odd >= 0)
    return (
      `operations: expected an object whose op is one of ${known.join(', ')}, ` +
      `saw ${JSON.stringify(operations[odd])} as number ${odd}`
    );
  return value as unknown as FuzzCase;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
