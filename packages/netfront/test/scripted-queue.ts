/**
 * One queue of a scripted backend: raw slots on real rings, as a test says, lies included.
 */
import { PAGE_BYTES } from '@netaccel/core-hooks';
import type { MappedPages } from '@netaccel/core-hooks';
import { BackRing, GrantCopyBatch, GrantStatus, decode, encode } from '@netaccel/xen';
import type { EventChannel } from '@netaccel/xen';
import {
  ExtraFlag,
  ExtraType,
  RX_RING_SLOTS,
  RxFlag,
  Status,
  TX_RING_SLOTS,
  TxFlag,
  extraGso,
  extraInfo,
  rxRequest,
  rxResponse,
  txRequest,
  txResponse,
} from '@netaccel/xen/netif';
import type { SimDomain } from '@netaccel/xen/sim';

export interface TxPacket {
  readonly bytes: Uint8Array;
  /** Flags of its first request. */
  readonly flags: number;
  /** Ids of its requests, in order. */
  readonly ids: readonly number[];
  readonly gso: { readonly type: number; readonly size: number } | null;
  /** Slots of extra information. */
  readonly extras: number;
}

export interface RxOptions {
  readonly flags?: number;
  readonly gso?: { readonly type: number; readonly size: number };
  /** First byte within the first page. */
  readonly offset?: number;
  /** Most bytes that go in one page. */
  readonly pieceBytes?: number;
}

/** A slot of the receive ring, said outright. */
export interface RawRx {
  readonly id?: number;
  readonly offset?: number;
  readonly flags?: number;
  readonly status?: number;
  readonly extra?: { readonly type: number; readonly flags?: number; readonly data?: readonly number[] };
}

/** One queue of the backend. */
export class BackendQueue {
  readonly tx: BackRing;
  readonly rx: BackRing;
  txEvents = 0;
  rxEvents = 0;
  readonly txChannel: EventChannel;
  readonly rxChannel: EventChannel;
  readonly pages: MappedPages;
  private readonly scratch: number;
  private readonly copies = new GrantCopyBatch(64);

  constructor(
    readonly domain: SimDomain,
    readonly guest: number,
    readonly keys: { txRef: number; rxRef: number; txPort: number; rxPort: number | null },
    onEvent: (queue: BackendQueue) => void,
  ) {
    this.pages = domain.foreign.map(guest, [keys.txRef, keys.rxRef], 'write');
    this.tx = new BackRing(domain.memory, this.pages.addresses[0]!, TX_RING_SLOTS, txRequest.size);
    this.rx = new BackRing(domain.memory, this.pages.addresses[1]!, RX_RING_SLOTS, rxRequest.size);
    this.scratch = domain.pages.allocate(18);
    this.txChannel = domain.events.bindInterdomain(guest, keys.txPort, () => {
      this.txEvents++;
      this.txChannel.unmask();
      onEvent(this);
    });
    this.rxChannel =
      keys.rxPort === null
        ? this.txChannel
        : domain.events.bindInterdomain(guest, keys.rxPort, () => {
            this.rxEvents++;
            this.rxChannel.unmask();
            onEvent(this);
          });
  }

  /** Packets that the guest sent and were not taken yet, at most `limit`; not answered. */
  take(limit = Infinity): TxPacket[] {
    const packets: TxPacket[] = [];
    let waiting = this.tx.available();
    if (waiting < 0) throw new Error('the frontend overran its transmit ring');
    while (waiting > 0 && packets.length < limit) {
      const before = this.tx.consumed;
      packets.push(this.takeOne());
      waiting -= (this.tx.consumed - before) >>> 0;
    }
    this.tx.arm();
    return packets;
  }

  /** Answers requests, in the order of their slots: NULL for each slot of extra information. */
  answer(packets: readonly TxPacket[], status: number = Status.okay): void {
    for (const { ids, extras } of packets) {
      this.respond(ids[0]!, status);
      for (let i = 0; i < extras; i++) this.respond(0, Status.null);
      for (const id of ids.slice(1)) this.respond(id, status);
    }
    this.publishTx();
  }

  /** Writes one transmit response, whatever it says. */
  respond(id: number, status: number): void {
    const at = this.tx.slot(this.tx.produced);
    this.domain.memory.bytes.set(encode(txResponse, { id, status }), at);
    this.tx.produced = (this.tx.produced + 1) >>> 0;
  }

  publishTx(): void {
    if (this.tx.publish()) this.txChannel.notify();
  }

  /** Pages that the guest has posted and that were not used. */
  get posted(): number {
    return this.rx.available();
  }

  /** Puts a packet on the receive ring; false when the guest has not posted enough. */
  put(bytes: Uint8Array, options: RxOptions = {}): boolean {
    const { flags = 0, gso, offset = 0, pieceBytes = PAGE_BYTES } = options;
    const pieces: Uint8Array[] = [];
    for (let at = 0; at < bytes.length;) {
      const room = Math.min(pieceBytes, PAGE_BYTES - (pieces.length === 0 ? offset : 0));
      pieces.push(bytes.subarray(at, at + room));
      at += room;
    }
    if (this.posted < pieces.length + (gso === undefined ? 0 : 1)) return false;
    pieces.forEach((piece, i) => {
      const more = i < pieces.length - 1 ? RxFlag.moreData : 0;
      const first = i === 0 ? flags | (gso === undefined ? 0 : RxFlag.extraInfo) : 0;
      this.fill(piece, i === 0 ? offset : 0, first | more);
      if (i === 0 && gso !== undefined)
        this.raw({
          extra: { type: ExtraType.gso, data: [gso.size & 0xff, gso.size >>> 8, gso.type, 0, 0, 0] },
        });
    });
    return true;
  }

  /** Uses up one posted page with a slot that says whatever the test wants. */
  raw({ id, offset = 0, flags = 0, status = 0, extra }: RawRx): void {
    const request = this.request();
    const at = this.rx.slot(this.rx.produced);
    const bytes =
      extra === undefined
        ? encode(rxResponse, { id: id ?? request.id, offset, flags, status })
        : encode(extraInfo, { type: extra.type, flags: extra.flags ?? 0, data: extra.data ?? [] });
    this.domain.memory.bytes.set(bytes, at);
    this.rx.produced = (this.rx.produced + 1) >>> 0;
  }

  publishRx(): void {
    if (this.rx.publish()) this.rxChannel.notify();
  }

  close(): void {
    this.rxChannel.close();
    this.txChannel.close();
    this.pages.unmap();
    this.domain.pages.free(this.scratch);
  }

  private fill(piece: Uint8Array, offset: number, flags: number): void {
    const { gref } = this.peek();
    this.domain.memory.bytes.set(piece, this.scratch);
    this.copies.clear();
    this.copies.toGrant(gref, offset, this.scratch, piece.length);
    this.domain.foreign.copy(this.guest, this.copies);
    if (this.copies.status[0] !== GrantStatus.okay) throw new Error(`grant copy: ${this.copies.status[0]}`);
    this.raw({ offset, flags, status: piece.length });
  }

  private peek(): { id: number; gref: number } {
    const at = this.rx.slot(this.rx.consumed);
    const { id, gref } = decode(rxRequest, this.domain.memory.bytes.subarray(at, at + rxRequest.size));
    return { id: id as number, gref: gref as number };
  }

  private request(): { id: number; gref: number } {
    if (this.posted <= 0) throw new Error('the guest has posted nothing');
    const request = this.peek();
    this.rx.consumed = (this.rx.consumed + 1) >>> 0;
    return request;
  }

  private slot<T>(read: (bytes: Uint8Array) => T): T {
    const at = this.tx.slot(this.tx.consumed);
    this.tx.consumed = (this.tx.consumed + 1) >>> 0;
    return read(this.domain.memory.bytes.subarray(at, at + txRequest.size));
  }

  private takeOne(): TxPacket {
    const next = () =>
      this.slot((bytes) => decode(txRequest, bytes) as Record<keyof typeof txRequest.fields, number>);
    const first = next();
    let gso: TxPacket['gso'] = null;
    let extras = 0;
    for (let more = (first.flags & TxFlag.extraInfo) !== 0; more; extras++) {
      const extra = this.slot(
        (bytes) => decode(extraGso, bytes) as Record<keyof typeof extraGso.fields, number>,
      );
      if (extra.type === ExtraType.gso) gso = { type: extra.gsoType, size: extra.size };
      more = (extra.flags & ExtraFlag.more) !== 0;
    }
    const rest = [];
    for (let { flags } = first; (flags & TxFlag.moreData) !== 0;) {
      const request = next();
      rest.push(request);
      ({ flags } = request);
    }
    const total = first.size;
    const parts = [{ ...first, size: total - rest.reduce((sum, { size }) => sum + size, 0) }, ...rest];
    const bytes = new Uint8Array(total);
    let at = 0;
    for (const { gref, offset, size } of parts) {
      this.copies.clear();
      this.copies.fromGrant(gref, offset, this.scratch, size);
      this.domain.foreign.copy(this.guest, this.copies);
      if (this.copies.status[0] !== GrantStatus.okay) throw new Error(`grant copy: ${this.copies.status[0]}`);
      bytes.set(this.domain.memory.bytes.subarray(this.scratch, this.scratch + size), at);
      at += size;
    }
    return { bytes, flags: first.flags, ids: parts.map(({ id }) => id), gso, extras };
  }
}
