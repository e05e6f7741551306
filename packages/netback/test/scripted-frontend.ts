/**
 * A frontend that does what a test says, lies included: raw slots on real rings, keys as the test wants them.
 * It follows the handshake only when told to, and never answers by itself.
 */
import { PAGE_BYTES } from '@netaccel/core-hooks';
import type { SharedPages } from '@netaccel/core-hooks';
import {
  FrontRing,
  XenbusState,
  decode,
  encode,
  initialiseRing,
  ringHeader,
  switchState,
} from '@netaccel/xen';
import type { EventChannel, XenbusStateValue } from '@netaccel/xen';
import {
  ExtraFlag,
  ExtraType,
  RX_RING_SLOTS,
  RxFlag,
  TX_RING_SLOTS,
  TxFlag,
  extraGso,
  extraInfo,
  extraMulticast,
  rxRequest,
  rxResponse,
  txRequest,
  txResponse,
} from '@netaccel/xen/netif';
import type { SimDomain } from '@netaccel/xen/sim';

/** Enough for a batch of packets in flight. */
const DEFAULT_PAGES = 64;
/** Rings begin here, so that every index wraps within the first hundred slots. */
export const NEAR_WRAP = 0xffff_ffc0;

export interface FrontendOptions {
  /** Queues; 1. */
  readonly queues?: number;
  /** A channel per direction; false. */
  readonly split?: boolean;
  /** First index of the rings. */
  readonly start?: number;
  /** Pages of each kind per queue, a power of two: 64. Slots share them when there are fewer than slots. */
  readonly pages?: number;
  /** Keys to write besides, or to leave out (null). */
  readonly keys?: Readonly<Record<string, string | null>>;
}

/** What a modern frontend says that it can do. */
export const modernKeys: Readonly<Record<string, string>> = {
  'request-rx-copy': '1',
  'feature-rx-notify': '1',
  'feature-sg': '1',
  'feature-gso-tcpv4': '1',
  'feature-gso-tcpv6': '1',
  'feature-ipv6-csum-offload': '1',
};

export interface Packet {
  readonly bytes: Uint8Array;
  /** `RxFlag` of its first slot. */
  readonly flags: number;
  readonly slots: number;
  readonly gso: { readonly type: number; readonly size: number } | null;
}

export interface TxResponse {
  readonly id: number;
  readonly status: number;
}

/** One queue of the frontend. */
export class FrontendQueue {
  readonly rings: SharedPages;
  readonly tx: FrontRing;
  readonly rx: FrontRing;
  readonly txChannel: EventChannel;
  readonly rxChannel: EventChannel;
  /** Pages for what it sends: one per slot of the ring. */
  readonly txPages: SharedPages;
  /** Pages that it posts. */
  readonly rxPages: SharedPages;
  /** Events of each channel. */
  txEvents = 0;
  rxEvents = 0;
  private posted = 0;
  private nextId = 0;

  constructor(
    readonly guest: SimDomain,
    backend: number,
    split: boolean,
    start: number,
    private readonly pages: number,
  ) {
    this.rings = guest.grants.share(backend, 2, 'write');
    const txPage = this.rings.address;
    const rxPage = this.rings.address + PAGE_BYTES;
    initialiseRing(guest.memory, txPage, start);
    initialiseRing(guest.memory, rxPage, start);
    this.tx = new FrontRing(guest.memory, txPage, TX_RING_SLOTS, txRequest.size, start);
    this.rx = new FrontRing(guest.memory, rxPage, RX_RING_SLOTS, rxRequest.size, start);
    this.txPages = guest.grants.share(backend, pages, 'read');
    this.rxPages = guest.grants.share(backend, pages, 'write');
    this.txChannel = guest.events.allocateUnbound(backend, () => {
      this.txEvents++;
      this.txChannel.unmask();
    });
    this.rxChannel = split
      ? guest.events.allocateUnbound(backend, () => {
          this.rxEvents++;
          this.rxChannel.unmask();
        })
      : this.txChannel;
  }

  /** Writes a header word of a ring behind its back. */
  poke(ring: 'tx' | 'rx', field: keyof typeof ringHeader.fields, value: number): void {
    const page = this.rings.address + (ring === 'tx' ? 0 : PAGE_BYTES);
    this.guest.memory.words[(page + ringHeader.fields[field].offset) >>> 2] = value;
  }

  /** Writes a raw slot of the transmit ring, unpublished. */
  raw(slot: Uint8Array): void {
    this.guest.memory.bytes.set(slot, this.tx.slot(this.tx.produced));
    this.tx.produced = (this.tx.produced + 1) >>> 0;
  }

  /** A transmit request as a value; page `page` of its own pages unless a reference is given. */
  request(value: Partial<Record<'gref' | 'offset' | 'flags' | 'id' | 'size', number>>, page = 0): number {
    const id = value.id ?? this.nextId++ & 0xffff;
    this.raw(encode(txRequest, { gref: this.txPages.refs[page]!, ...value, id }));
    return id;
  }

  gsoExtra(type: number, size: number, flags = 0): void {
    this.raw(encode(extraGso, { type: ExtraType.gso, flags, size, gsoType: type }));
  }

  multicastExtra(join: boolean, address: readonly number[]): void {
    this.raw(
      encode(extraMulticast, { type: join ? ExtraType.mcastAdd : ExtraType.mcastDel, flags: 0, address }),
    );
  }

  extra(type: number, more = false): void {
    this.raw(encode(extraInfo, { type, flags: more ? ExtraFlag.more : 0 }));
  }

  /** Puts bytes into the transmit pages and makes the packet's requests; unpublished. Answers their ids. */
  packet(
    bytes: Uint8Array,
    options: {
      flags?: number;
      gso?: { type: number; size: number };
      /** Lengths of the fragments; one per page when left out. */
      fragments?: readonly number[];
      offset?: number;
    } = {},
  ): number[] {
    const { guest, txPages } = this;
    const lengths = [...(options.fragments ?? pagesOf(bytes.length, options.offset ?? 0))];
    const ids: number[] = [];
    let at = 0;
    lengths.forEach((length, i) => {
      const page = this.tx.produced & (this.pages - 1);
      const offset = i === 0 ? (options.offset ?? 0) : 0;
      guest.memory.bytes.set(bytes.subarray(at, at + length), txPages.address + page * PAGE_BYTES + offset);
      at += length;
      const more = i < lengths.length - 1 ? TxFlag.moreData : 0;
      const extra = i === 0 && options.gso !== undefined ? TxFlag.extraInfo : 0;
      ids.push(
        this.request(
          {
            offset,
            flags: more | extra | (i === 0 ? (options.flags ?? 0) : 0),
            size: i === 0 ? bytes.length : length,
          },
          page,
        ),
      );
      if (i === 0 && options.gso !== undefined) this.gsoExtra(options.gso.type, options.gso.size);
    });
    return ids;
  }

  /** Publishes the transmit requests and notifies if asked to. */
  publish(): void {
    if (this.tx.publish()) this.txChannel.notify();
  }

  /** Transmit responses that wait. */
  responses(): TxResponse[] {
    const out: TxResponse[] = [];
    for (let n = this.tx.available(); n > 0; n--) {
      const at = this.tx.slot(this.tx.consumed);
      const slot = this.guest.memory.bytes.slice(at, at + txRequest.size);
      this.tx.consumed = (this.tx.consumed + 1) >>> 0;
      const { id, status } = decode(txResponse, slot);
      out.push({ id: id as number, status: status as number });
    }
    this.tx.arm();
    return out;
  }

  /** Posts receive buffers and publishes them. */
  post(count: number): void {
    const { guest, rx, rxPages } = this;
    for (let i = 0; i < count; i++) {
      const page = rx.produced & (this.pages - 1);
      guest.memory.bytes.fill(
        0xee,
        rxPages.address + page * PAGE_BYTES,
        rxPages.address + (page + 1) * PAGE_BYTES,
      );
      guest.memory.bytes.set(
        encode(rxRequest, { id: this.posted++ & 0xffff, gref: rxPages.refs[page]! }),
        rx.slot(rx.produced),
      );
      rx.produced = (rx.produced + 1) >>> 0;
    }
    if (rx.publish()) this.rxChannel.notify();
  }

  /** Raw receive responses that wait. */
  rawResponses(): { index: number; bytes: Uint8Array }[] {
    const out: { index: number; bytes: Uint8Array }[] = [];
    for (let n = this.rx.available(); n > 0; n--) {
      const at = this.rx.slot(this.rx.consumed);
      out.push({ index: this.rx.consumed, bytes: this.guest.memory.bytes.slice(at, at + rxResponse.size) });
      this.rx.consumed = (this.rx.consumed + 1) >>> 0;
    }
    this.rx.arm();
    return out;
  }

  /** Packets that wait, put together as netfront does; throws where the framing is broken. */
  packets(): (Packet | { readonly error: number })[] {
    const { guest, rxPages } = this;
    const raw = this.rawResponses();
    const out: (Packet | { error: number })[] = [];
    for (let i = 0; i < raw.length;) {
      const head = decode(rxResponse, raw[i]!.bytes) as Record<string, number>;
      const parts: Uint8Array[] = [];
      let gso: Packet['gso'] = null;
      let slots = 0;
      let error = 0;
      for (let flags = RxFlag.moreData as number; (flags & RxFlag.moreData) !== 0;) {
        if (i === raw.length) throw new Error('a packet ends in the middle');
        const { index, bytes } = raw[i++]!;
        const { flags: own, offset, status } = decode(rxResponse, bytes) as Record<string, number>;
        flags = own!;
        slots++;
        if (status! < 0) error = status!;
        else {
          const from = rxPages.address + (index & (this.pages - 1)) * PAGE_BYTES + offset!;
          if (offset! + status! > PAGE_BYTES) throw new Error('a response crosses its page');
          parts.push(guest.memory.bytes.slice(from, from + status!));
        }
        if ((own! & RxFlag.extraInfo) !== 0) {
          const extra = decode(extraGso, raw[i++]!.bytes) as Record<string, number>;
          slots++;
          if (extra['type'] !== ExtraType.gso || extra['flags'] !== 0)
            throw new Error('not the extra info expected');
          gso = { type: extra['gsoType']!, size: extra['size']! };
        }
      }
      out.push(error !== 0 ? { error } : { bytes: concat(parts), flags: head['flags']!, slots, gso });
    }
    return out;
  }

  /** Gives everything back; false when the backend still has a page. */
  release(): boolean {
    this.txChannel.close();
    this.rxChannel.close();
    return [this.rings, this.txPages, this.rxPages].map((pages) => pages.release()).every((ok) => ok);
  }
}

/** Fragment lengths of a packet whose first byte lies at `offset` of a page. */
export function pagesOf(length: number, offset = 0): number[] {
  const out: number[] = [];
  for (let left = length, room = PAGE_BYTES - offset; left > 0; room = PAGE_BYTES) {
    out.push(Math.min(left, room));
    left -= out.at(-1)!;
  }
  return out.length > 0 ? out : [0];
}

export function concat(parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** A whole frontend. */
export class ScriptedFrontend {
  queues: FrontendQueue[] = [];
  readonly path: string;

  constructor(
    readonly guest: SimDomain,
    readonly backend: number,
    readonly handle: number,
  ) {
    this.path = `/local/domain/${guest.id}/device/vif/${handle}`;
  }

  get queue(): FrontendQueue {
    return this.queues[0]!;
  }

  state(state: XenbusStateValue): Promise<boolean> {
    return switchState(this.guest.store, this.path, state);
  }

  /** The keys that a frontend with these options writes. */
  keys(options: FrontendOptions = {}): Record<string, string | null> {
    const keys: Record<string, string | null> = { ...modernKeys };
    const several = this.queues.length > 1;
    if (several) keys['multi-queue-num-queues'] = String(this.queues.length);
    this.queues.forEach((queue, n) => {
      const at = several ? `queue-${n}/` : '';
      keys[`${at}tx-ring-ref`] = String(queue.rings.refs[0]);
      keys[`${at}rx-ring-ref`] = String(queue.rings.refs[1]);
      if (queue.rxChannel !== queue.txChannel) {
        keys[`${at}event-channel-tx`] = String(queue.txChannel.port);
        keys[`${at}event-channel-rx`] = String(queue.rxChannel.port);
      } else keys[`${at}event-channel`] = String(queue.txChannel.port);
    });
    return { ...keys, ...options.keys };
  }

  /** Makes rings and channels. */
  open(options: FrontendOptions = {}): void {
    const { queues = 1, split = false, start = NEAR_WRAP, pages = DEFAULT_PAGES } = options;
    this.queues = Array.from(
      { length: queues },
      () => new FrontendQueue(this.guest, this.backend, split, start, pages),
    );
  }

  /** Writes the keys and goes to Connected, in one transaction. */
  async publishKeys(options: FrontendOptions = {}): Promise<void> {
    const keys = this.keys(options);
    await this.guest.store.transaction(async (transaction) => {
      for (const [key, value] of Object.entries(keys))
        if (value !== null) await this.guest.store.write(`${this.path}/${key}`, value, transaction);
        else await this.guest.store.remove(`${this.path}/${key}`, transaction);
      await switchState(this.guest.store, this.path, XenbusState.Connected, transaction);
    });
  }

  async connect(options: FrontendOptions = {}): Promise<void> {
    this.open(options);
    await this.publishKeys(options);
  }

  /** Gives its pages back; true when the backend let go of all of them. */
  release(): boolean {
    return this.queues
      .splice(0)
      .map((queue) => queue.release())
      .every((ok) => ok);
  }
}
