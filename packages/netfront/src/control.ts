/**
 * The guest's half of the control ring (netif.h): by it a guest asks its backend to hash received frames, and says
 * which queue each hash goes to, and asks for pages that stay mapped (static-grants.ts). Optional; a backend that does
 * not offer it spreads frames as it likes.
 *
 * Made and closed by the connection, outside of the frame path: requests are few, and one is under way at a time.
 * Pages are granted once. An answer that answers nothing is a breach; one that never comes costs nothing.
 */
import type { SharedPages } from '@netaccel/core-hooks';
import { FrontRing, initialiseRing } from '@netaccel/xen';
import type { Domain, DomainId, EventChannel } from '@netaccel/xen';
import {
  CONTROL_RING_SLOTS,
  ControlStatus,
  ControlType,
  HashAlgorithm,
  HashType,
  controlRequest,
  controlResponse,
} from '@netaccel/xen/netif';

const REQUEST = controlRequest.fields;
const RESPONSE = controlResponse.fields;
const MOST_KEY_BYTES = 40;
const ALL_TYPES = HashType.ipv4 | HashType.ipv4Tcp | HashType.ipv6 | HashType.ipv6Tcp;

/** How received frames are hashed (Toeplitz) and spread over the queues. */
export interface ReceiveHash {
  /** The key, up to 40 bytes; what is missing of it counts as zero. */
  readonly key: Uint8Array;
  /** What is hashed: bits of `HashType`. All four when left out; what the backend cannot is left out, too. */
  readonly types?: number;
  /** Queue by hash modulo the number of entries, each below the number of queues. Without it: hash modulo queues. */
  readonly mapping?: readonly number[];
}

/** What the backend must know of the ring. */
export interface ControlKeys {
  readonly ref: number;
  readonly port: number;
}

/** A control ring's answer. */
interface Answer {
  readonly status: number;
  readonly data: number;
}

/** The connection ended, or the backend refused. */
export class ControlError extends Error {}

/** The guest's half. */
export class ControlRing {
  /** What the backend must know of it. */
  readonly keys: ControlKeys;
  /** What became of the request to hash, for people. */
  state = 'not asked';
  private readonly ringPage: SharedPages;
  private readonly dataPage: SharedPages;
  private readonly ring: FrontRing;
  private readonly channel: EventChannel;
  private nextId = 1;
  private pending: { id: number; resolve: (answer: Answer) => void; reject: (error: Error) => void } | null =
    null;
  private over = false;
  private broken = false;

  /**
   * @param start where the indices begin.
   * @param onBreach the backend broke the ring's rules; called once.
   * @throws MachineError when pages, grants or ports are not to be had; nothing is held then.
   */
  constructor(
    private readonly domain: Domain,
    backend: DomainId,
    start: number,
    private readonly onBreach: (reason: string) => void,
  ) {
    const got: (() => void)[] = [];
    try {
      this.ringPage = domain.grants.share(backend, 1, 'write');
      got.push(() => this.ringPage.release());
      this.dataPage = domain.grants.share(backend, 1, 'read');
      got.push(() => this.dataPage.release());
      this.channel = domain.events.allocateUnbound(backend, () => this.collect());
    } catch (error) {
      for (const release of got) release();
      throw error;
    }
    initialiseRing(domain.memory, this.ringPage.address, start);
    this.ring = new FrontRing(
      domain.memory,
      this.ringPage.address,
      CONTROL_RING_SLOTS,
      controlRequest.size,
      start,
    );
    this.keys = { ref: this.ringPage.refs[0]!, port: this.channel.port };
  }

  /**
   * Asks for Toeplitz with this key and mapping; resolves when it is so, or `state` says why not. A backend that
   * takes a part of it is set back to its own way of spreading.
   */
  async hash(wanted: ReceiveHash, queues: number): Promise<void> {
    this.state = 'asked';
    try {
      await this.ask('algorithm', ControlType.setHashAlgorithm, HashAlgorithm.toeplitz);
      const able = await this.ask('types', ControlType.getHashFlags);
      await this.ask('types', ControlType.setHashFlags, able & (wanted.types ?? ALL_TYPES));
      const key = wanted.key.subarray(0, MOST_KEY_BYTES);
      this.domain.memory.bytes.set(key, this.dataPage.address);
      await this.ask('key', ControlType.setHashKey, this.dataPage.refs[0], key.length);
      await this.map(wanted.mapping ?? [], queues);
      this.state = 'hashed by the backend';
    } catch (error) {
      if (!(error instanceof ControlError)) throw error;
      this.state = error.message;
      if (!this.over && !this.broken)
        await this.send(ControlType.setHashAlgorithm, HashAlgorithm.none, 0, 0).catch(() => undefined);
    }
  }

  /** Gives everything back; what was asked is not answered any more. Idempotent. */
  close(): void {
    if (this.over) return;
    this.over = true;
    this.pending?.reject(new ControlError('the connection ended'));
    this.pending = null;
    this.channel.close();
    this.dataPage.release();
    this.ringPage.release();
  }

  private async map(mapping: readonly number[], queues: number): Promise<void> {
    const wrong = mapping.find((queue) => !Number.isInteger(queue) || queue < 0 || queue >= queues);
    if (wrong !== undefined)
      throw new ControlError(`mapping: expected queues below ${queues}, saw ${wrong}; change the option`);
    const most = await this.ask('mapping', ControlType.getHashMappingSize);
    if (mapping.length > most)
      throw new ControlError(
        `mapping: expected at most the backend's ${most} entries, saw ${mapping.length}`,
      );
    await this.ask('mapping', ControlType.setHashMappingSize, mapping.length);
    if (mapping.length === 0) return;
    this.domain.memory.words.set(mapping, this.dataPage.address >>> 2);
    await this.ask('mapping', ControlType.setHashMapping, this.dataPage.refs[0], mapping.length, 0);
  }

  /**
   * Asks, and answers the data of a success. One request at a time: the caller waits for the last one's answer.
   * @throws ControlError when it is refused, or the connection ends.
   */
  async ask(what: string, type: number, first = 0, second = 0, third = 0): Promise<number> {
    const { status, data } = await this.send(type, first, second, third);
    if (status === ControlStatus.success) return data;
    const name = Object.entries(ControlStatus).find(([, value]) => value === status)?.[0] ?? String(status);
    throw new ControlError(`${what}: expected the backend to take it, saw ${name}`);
  }

  private send(type: number, first: number, second: number, third: number): Promise<Answer> {
    if (this.over || this.broken) return Promise.reject(new ControlError('the connection ended'));
    return new Promise((resolve, reject) => {
      const { ring } = this;
      const { halves, words } = this.domain.memory;
      const id = this.nextId;
      this.nextId = (id + 1) & 0xffff;
      this.pending = { id, resolve, reject };
      const at = ring.slot(ring.produced);
      halves[(at + REQUEST.id.offset) >>> 1] = id;
      halves[(at + REQUEST.type.offset) >>> 1] = type;
      words[(at + REQUEST.data0.offset) >>> 2] = first;
      words[(at + REQUEST.data1.offset) >>> 2] = second;
      words[(at + REQUEST.data2.offset) >>> 2] = third;
      ring.produced = (ring.produced + 1) >>> 0;
      ring.arm();
      if (ring.publish()) this.channel.notify();
    });
  }

  /** An event: at most one answer is owed. */
  private collect(): void {
    if (this.over || this.broken) return;
    const { ring, pending } = this;
    const waiting = ring.available();
    if (waiting < 0) return this.breach('more control responses than requests');
    if (waiting > 0) {
      const { halves, words } = this.domain.memory;
      const at = ring.slot(ring.consumed);
      const id = halves[(at + RESPONSE.id.offset) >>> 1]!;
      const status = words[(at + RESPONSE.status.offset) >>> 2]!;
      const data = words[(at + RESPONSE.data.offset) >>> 2]!;
      ring.consumed = (ring.consumed + 1) >>> 0;
      if (id !== pending?.id)
        return this.breach(`a control response with id ${id}, which is not outstanding`);
      this.pending = null;
      pending.resolve({ status, data });
    }
    ring.arm();
    this.channel.unmask(waiting === 0);
  }

  private breach(reason: string): void {
    // The channel stays masked; pages and port go with the connection, which whoever is told closes.
    this.broken = true;
    this.pending?.reject(new ControlError(reason));
    this.pending = null;
    this.onBreach(reason);
  }
}
