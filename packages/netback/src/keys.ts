/**
 * What a frontend wrote into its directory, read in one transaction and judged before anything is mapped.
 *
 * All of it is the guest's word: numbers are parsed strictly and bounded, and a frontend whose keys make no
 * sense is refused with the reason in the store's `error/` directory. Called once for each connection.
 */
import { PAGE_BYTES } from '@netaccel/core-hooks';
import type { Store, StoreTransaction } from '@netaccel/xen/store';
import { MAX_PACKET_BYTES, MIN_SLOTS_PER_PACKET } from '@netaccel/xen/netif';
import type { PeerFeatures } from './peer.js';

/** One queue's keys. */
export interface QueueKeys {
  /** Grant of the transmit ring's page. */
  readonly txRingRef: number;
  /** Grant of the receive ring's page. */
  readonly rxRingRef: number;
  /** The guest's port for transmit, or for both. */
  readonly txPort: number;
  /** The guest's port for receive, or null when one channel serves both. */
  readonly rxPort: number | null;
}

/** All that a connection is made from. */
export interface FrontendKeys {
  readonly queues: readonly QueueKeys[];
  readonly features: PeerFeatures;
  /** The guest chooses its multicast groups. */
  readonly multicastControl: boolean;
  /** Its control ring's page and port, or null when it has none. */
  readonly control: { readonly ref: number; readonly port: number } | null;
  /** Bytes before the data of each received slot. */
  readonly headroom: number;
}

/** A frontend's keys make no sense. */
export class FrontendKeyError extends Error {
  /** Stable code for programs. */
  readonly code = 'FRONTEND_KEYS';
  /** @param message which key, what was expected, what was seen. */
  constructor(message: string) {
    super(message);
    this.name = 'FrontendKeyError';
  }
}

/** Says that the guest chooses its multicast groups. */
export const MULTICAST_KEY = 'request-multicast-control';

/** Says how many bytes of room the guest wants before the data of each received slot. */
export const HEADROOM_KEY = 'xdp-headroom';
/**
 * The most with which the longest packet still fits in the slots of one. Linux takes up to 0x7fff, which is more than a
 * page and would leave no room for any data.
 */
export const MOST_HEADROOM = PAGE_BYTES - Math.ceil(MAX_PACKET_BYTES / MIN_SLOTS_PER_PACKET);

/** The room that a guest gets who asks for that; the extra info of each packet tells it. */
export function parseHeadroom(text: string | null): number {
  return Math.min(parseNumber(text) ?? 0, MOST_HEADROOM);
}

const LARGEST = 0xffff_ffff;

/** A decimal number of 32 bits, or null. */
export function parseNumber(text: string | null): number | null {
  if (text === null || !/^\d{1,10}$/.test(text)) return null;
  const value = Number(text);
  return value <= LARGEST ? value : null;
}

/** Reads of one directory within one transaction. */
class Directory {
  constructor(
    private readonly store: Store,
    private readonly path: string,
    private readonly transaction: StoreTransaction,
  ) {}

  under(name: string): Directory {
    return new Directory(this.store, `${this.path}/${name}`, this.transaction);
  }

  read(name: string): Promise<string | null> {
    return this.store.readOptional(`${this.path}/${name}`, this.transaction);
  }

  /** A number that must be there. */
  async number(name: string): Promise<number> {
    const text = await this.read(name);
    const value = parseNumber(text);
    if (value !== null) return value;
    throw new FrontendKeyError(
      `${this.path}/${name}: expected a decimal number of 32 bits, ${text === null ? 'nothing is there' : `saw ${JSON.stringify(text.slice(0, 40))}`}`,
    );
  }

  /** A number that has a default; what is no number counts as absent, as in Linux. */
  async optional(name: string, otherwise: number): Promise<number> {
    return parseNumber(await this.read(name)) ?? otherwise;
  }

  async flag(name: string): Promise<boolean> {
    return (await this.optional(name, 0)) !== 0;
  }
}

async function readQueue(at: Directory): Promise<QueueKeys> {
  const txRingRef = await at.number('tx-ring-ref');
  const rxRingRef = await at.number('rx-ring-ref');
  // Split channels if the frontend wrote both; a half pair counts as none, as in Linux.
  const tx = parseNumber(await at.read('event-channel-tx'));
  const rx = parseNumber(await at.read('event-channel-rx'));
  if (tx !== null && rx !== null) return { txRingRef, rxRingRef, txPort: tx, rxPort: rx };
  return { txRingRef, rxRingRef, txPort: await at.number('event-channel'), rxPort: null };
}

/**
 * Reads the keys of the frontend directory `path`.
 * @param maxQueues what was offered as `multi-queue-max-queues`.
 * @throws FrontendKeyError, StoreError
 */
export function readFrontendKeys(store: Store, path: string, maxQueues: number): Promise<FrontendKeys> {
  return store.transaction(async (transaction) => {
    const at = new Directory(store, path, transaction);
    if (!(await at.flag('request-rx-copy')))
      throw new FrontendKeyError(
        `${path}/request-rx-copy: expected 1 (page flipping is not offered), saw none`,
      );
    const count = await at.optional('multi-queue-num-queues', 1);
    if (count < 1 || count > maxQueues)
      throw new FrontendKeyError(`${path}/multi-queue-num-queues: expected 1 to ${maxQueues}, saw ${count}`);
    // One queue has flat keys; several have a directory each and nothing else.
    const queues: QueueKeys[] = [];
    if (count === 1) queues.push(await readQueue(at));
    else for (let n = 0; n < count; n++) queues.push(await readQueue(at.under(`queue-${n}`)));
    const features: PeerFeatures = {
      scatterGather: await at.flag('feature-sg'),
      segmentationTcpv4: await at.flag('feature-gso-tcpv4'),
      segmentationTcpv6: await at.flag('feature-gso-tcpv6'),
      checksumIpv4: !(await at.flag('feature-no-csum-offload')),
      checksumIpv6: await at.flag('feature-ipv6-csum-offload'),
      receiveNotify: await at.flag('feature-rx-notify'),
    };
    const controlRef = await at.read('ctrl-ring-ref');
    const control =
      controlRef === null
        ? null
        : { ref: await at.number('ctrl-ring-ref'), port: await at.number('event-channel-ctrl') };
    return {
      queues,
      features,
      multicastControl: await at.flag(MULTICAST_KEY),
      control,
      headroom: parseHeadroom(await at.read(HEADROOM_KEY)),
    };
  });
}
