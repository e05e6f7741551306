/**
 * A backend that does what it is told, lies included: it carries out operations that are plain data, on a domain of
 * whichever machine. It never answers by itself, and nothing that a frontend does makes it throw. It owns its
 * mappings and channels, and `end` gives them back.
 */
import type { MappedPages } from '@netaccel/core-hooks';
import { PAGE_BYTES } from '@netaccel/core-hooks';
import { GrantCopyBatch } from '../grant-copy.js';
import { decode, encode } from '../layout.js';
import { MachineError } from '../machine.js';
import type { Domain, DomainId, EventChannel } from '../machine.js';
import {
  ExtraFlag,
  RX_RING_SLOTS,
  RxFlag,
  Status,
  TX_RING_SLOTS,
  TxFlag,
  extraInfo,
  rxRequest,
  rxResponse,
  txRequest,
  txResponse,
} from '../netif/index.js';
import { BackRing, ringHeader } from '../ring.js';
import { StoreError } from '../store/index.js';
import { XenbusState, switchState } from '../xenbus.js';
import type { XenbusStateValue } from '../xenbus.js';
import type { BackendOperation, RingName } from './operations.js';

const features: Readonly<Record<string, string>> = {
  'feature-rx-copy': '1',
  'feature-sg': '1',
  'feature-gso-tcpv4': '1',
  'feature-gso-tcpv6': '1',
  'feature-ipv6-csum-offload': '1',
  'feature-split-event-channels': '1',
  'multi-queue-max-queues': '2',
};
/** Ids that are remembered for lies about them. */
const REMEMBERED = 64;
/** Events of one storm at most, and queues. */
const MOST = 64;

/** Where a queue's keys say that its rings and channels are. */
interface QueueKeys {
  readonly refs: readonly [number, number];
  readonly ports: readonly [tx: number, rx: number | null];
}

/** One queue: rings that it writes as it likes. */
class HostileQueue {
  readonly tx: BackRing;
  readonly rx: BackRing;
  readonly txChannel: EventChannel;
  readonly rxChannel: EventChannel;
  /** Ids of requests that were seen, the newest last. */
  readonly ids: number[] = [];
  private readonly pages: MappedPages;
  private readonly copies = new GrantCopyBatch(1);

  /** @throws MachineError when the frontend's keys name what it does not have. */
  constructor(
    private readonly domain: Domain,
    private readonly peer: DomainId,
    keys: QueueKeys,
    private readonly scratch: number,
  ) {
    this.pages = domain.foreign.map(peer, keys.refs, 'write');
    try {
      this.tx = new BackRing(domain.memory, this.pages.addresses[0]!, TX_RING_SLOTS, txRequest.size);
      this.rx = new BackRing(domain.memory, this.pages.addresses[1]!, RX_RING_SLOTS, rxRequest.size);
      this.txChannel = domain.events.bindInterdomain(peer, keys.ports[0], () => this.txChannel.unmask());
    } catch (error) {
      this.pages.unmap();
      throw error;
    }
    try {
      this.rxChannel =
        keys.ports[1] === null
          ? this.txChannel
          : domain.events.bindInterdomain(peer, keys.ports[1], () => this.rxChannel.unmask());
    } catch (error) {
      this.txChannel.close();
      this.pages.unmap();
      throw error;
    }
  }

  ring(name: RingName): BackRing {
    return name === 'tx' ? this.tx : this.rx;
  }

  header(name: RingName): number {
    return this.pages.addresses[name === 'tx' ? 0 : 1]! >>> 2;
  }

  channel(name: RingName): EventChannel {
    return name === 'tx' ? this.txChannel : this.rxChannel;
  }

  /** Takes every request that waits; answers them as a backend should, or not. */
  take(answer: boolean): void {
    const { tx, domain } = this;
    let extra = false;
    // A ring that was given back, or whose index was written over, may have any number.
    for (let n = Math.min(Math.max(0, tx.available()), TX_RING_SLOTS); n > 0; n--) {
      const at = tx.slot(tx.consumed);
      const bytes = domain.memory.bytes.slice(at, at + txRequest.size);
      tx.consumed = (tx.consumed + 1) >>> 0;
      const { id, flags } = decode(txRequest, bytes) as Record<string, number>;
      const wasExtra: boolean = extra;
      extra = wasExtra ? (bytes[1]! & ExtraFlag.more) !== 0 : (flags! & TxFlag.extraInfo) !== 0;
      if (!wasExtra) this.ids.push(id!);
      if (answer) this.respond(wasExtra ? 0 : id!, wasExtra ? Status.null : Status.okay);
    }
    this.ids.splice(0, this.ids.length - REMEMBERED);
    this.publish('tx');
    tx.arm();
  }

  respond(id: number, status: number): void {
    const at = this.tx.slot(this.tx.produced);
    this.domain.memory.bytes.set(encode(txResponse, { id: id & 0xffff, status }), at);
    this.tx.produced = (this.tx.produced + 1) >>> 0;
  }

  publish(name: RingName): void {
    if (this.ring(name).publish()) this.channel(name).notify();
  }

  /** A packet as it should be, if enough is posted. */
  packet(length: number): void {
    const slots = Math.ceil(length / PAGE_BYTES);
    if (this.rx.available() < slots) return;
    for (let at = 0; at < length; at += PAGE_BYTES) {
      const bytes = Math.min(PAGE_BYTES, length - at);
      const { memory } = this.domain;
      const slot = this.rx.slot(this.rx.consumed);
      const { id, gref } = decode(rxRequest, memory.bytes.slice(slot, slot + rxRequest.size)) as Record<
        string,
        number
      >;
      this.copies.clear();
      this.copies.toGrant(gref!, 0, this.scratch, bytes);
      this.domain.foreign.copy(this.peer, this.copies);
      const flags = at + bytes < length ? RxFlag.moreData : 0;
      this.receive(encode(rxResponse, { id: id!, offset: 0, flags, status: bytes }));
    }
    this.publish('rx');
  }

  /** Uses up a posted buffer, or one that nobody posted. */
  receive(bytes: ArrayLike<number>): void {
    this.domain.memory.bytes.set(bytes, this.rx.slot(this.rx.produced));
    this.rx.produced = (this.rx.produced + 1) >>> 0;
    if (this.rx.available() > 0) this.rx.consumed = (this.rx.consumed + 1) >>> 0;
  }

  hangUp(): void {
    this.rxChannel.close();
    this.txChannel.close();
  }

  close(): void {
    this.hangUp();
    this.pages.unmap();
  }
}

/**
 * A backend that is told what to do.
 *
 * @example
 * ```ts
 * const peer = new HostileBackend(driverDomain, guest.id, 0);
 * await peer.perform({ op: 'advertise' });
 * ```
 */
export class HostileBackend {
  private readonly path: string;
  private readonly frontPath: string;
  private readonly scratch: number;
  private queues: HostileQueue[] = [];

  /**
   * @param domain the driver domain.
   * @param guest the domain that the vif is for.
   * @param handle number of the vif.
   */
  constructor(
    private readonly domain: Domain,
    private readonly guest: DomainId,
    handle: number,
  ) {
    this.path = `backend/vif/${guest}/${handle}`;
    this.frontPath = `/local/domain/${guest}/device/vif/${handle}`;
    this.scratch = domain.pages.allocate(1);
  }

  /**
   * Carries out one operation. What the machine refuses is as if it had not been asked for.
   * @returns whether it had any effect here.
   */
  async perform(operation: BackendOperation): Promise<boolean> {
    const { store } = this.domain;
    try {
      switch (operation.op) {
        case 'key':
          if (operation.value === null) await store.remove(`${this.path}/${operation.name}`);
          else await store.write(`${this.path}/${operation.name}`, operation.value);
          return true;
        case 'state':
          await switchState(store, this.path, operation.state as XenbusStateValue);
          return true;
        case 'advertise':
          for (const [key, value] of Object.entries(features))
            await store.write(`${this.path}/${key}`, value);
          await switchState(store, this.path, XenbusState.InitWait);
          return true;
        case 'connect':
          await this.connect();
          return true;
        case 'disconnect':
          for (const queue of this.queues.splice(0)) queue.close();
          return true;
        case 'hangUp':
          for (const queue of this.queues) queue.hangUp();
          return this.queues.length > 0;
        default: {
          const queue = this.queues[operation.queue % Math.max(1, this.queues.length)];
          if (queue !== undefined) this.onQueue(queue, operation);
          return queue !== undefined;
        }
      }
    } catch (error) {
      if (error instanceof MachineError || error instanceof StoreError) return false;
      throw error;
    }
  }

  /** Gives everything back. */
  end(): void {
    for (const queue of this.queues.splice(0)) queue.close();
    this.domain.pages.free(this.scratch);
  }

  private onQueue(
    queue: HostileQueue,
    operation: Exclude<
      BackendOperation,
      { op: 'key' | 'state' | 'advertise' | 'connect' | 'disconnect' | 'hangUp' }
    >,
  ): void {
    const { memory } = this.domain;
    switch (operation.op) {
      case 'index': {
        const at = queue.header(operation.ring) + (ringHeader.fields[operation.field].offset >>> 2);
        memory.words[at] = (memory.words[at]! + operation.by) >>> 0;
        break;
      }
      case 'change': {
        const ring = queue.ring(operation.ring);
        const slotBytes = operation.ring === 'tx' ? txRequest.size : rxRequest.size;
        memory.bytes.set(operation.bytes.slice(0, slotBytes), ring.slot(ring.produced - 1 - operation.back));
        break;
      }
      case 'storm':
        for (let n = Math.min(operation.count, MOST); n > 0; n--) queue.channel(operation.ring).notify();
        break;
      case 'take':
        queue.take(operation.answer);
        break;
      case 'respond': {
        const seen = queue.ids[queue.ids.length - 1 - operation.back] ?? 0;
        queue.respond(seen + operation.by, operation.status);
        queue.publish('tx');
        break;
      }
      case 'packet':
        queue.packet(operation.length);
        break;
      case 'receive': {
        const { id, offset, flags, status } = operation;
        queue.receive(encode(rxResponse, { id, offset, flags, status }));
        queue.publish('rx');
        break;
      }
      case 'extra': {
        const { type, more, data } = operation;
        queue.receive(encode(extraInfo, { type, flags: more ? ExtraFlag.more : 0, data: data.slice(0, 6) }));
        break;
      }
    }
  }

  private async connect(): Promise<void> {
    for (const queue of this.queues.splice(0)) queue.close();
    const read = async (key: string): Promise<number | null> => {
      const text = await this.domain.store.readOptional(`${this.frontPath}/${key}`);
      return text === null ? null : Number(text) >>> 0;
    };
    const count = Math.min((await read('multi-queue-num-queues')) ?? 1, MOST);
    for (let n = 0; n < count; n++) {
      const at = count > 1 ? `queue-${n}/` : '';
      const rx = await read(`${at}event-channel-rx`);
      const tx = await read(`${at}${rx === null ? 'event-channel' : 'event-channel-tx'}`);
      const refs = [(await read(`${at}tx-ring-ref`)) ?? 0, (await read(`${at}rx-ring-ref`)) ?? 0] as const;
      this.queues.push(
        new HostileQueue(this.domain, this.guest, { refs, ports: [tx ?? 0, rx] }, this.scratch),
      );
    }
    await switchState(this.domain.store, this.path, XenbusState.Connected);
  }
}
