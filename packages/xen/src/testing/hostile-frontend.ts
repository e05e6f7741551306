/**
 * A frontend that does what it is told, lies included: it carries out operations that are plain data, on a domain of
 * whichever machine. It never answers by itself, and nothing that a backend does makes it throw. Tests, the fuzz
 * command and a guest of a real host use it; it owns its rings, pages and channels, and `end` gives them back.
 */
import { PAGE_BYTES } from '@netaccel/core-hooks';
import type { SharedPages } from '@netaccel/core-hooks';
import { encode } from '../layout.js';
import { MachineError } from '../machine.js';
import type { Domain, DomainId, EventChannel } from '../machine.js';
import {
  GrefFlag,
  RX_RING_SLOTS,
  TX_RING_SLOTS,
  TxFlag,
  grefEntry,
  rxRequest,
  txRequest,
} from '../netif/index.js';
import { FrontRing, initialiseRing, ringHeader } from '../ring.js';
import { StoreError } from '../store/index.js';
import { switchState } from '../xenbus.js';
import type { XenbusStateValue } from '../xenbus.js';
import { HostileControl } from './hostile-control.js';
import type { FrontendOperation, RingName } from './operations.js';

/** Pages of each kind of a queue; slots share them. */
const PAGES = 16;
/** From here on a page number of an operation names a reference, and not one of its own pages. */
const FOREIGN_REFERENCES = 1000;
/** Events of one storm at most, and queues. */
const MOST = 64;
const FILLING = 0xee;

/** What a modern frontend says that it can do. */
const features: Readonly<Record<string, string>> = {
  'request-rx-copy': '1',
  'feature-rx-notify': '1',
  'feature-sg': '1',
  'feature-gso-tcpv4': '1',
  'feature-gso-tcpv6': '1',
  'feature-ipv6-csum-offload': '1',
};

/** One queue: rings that it writes as it likes. */
class HostileQueue {
  readonly rings: SharedPages;
  readonly tx: FrontRing;
  readonly rx: FrontRing;
  readonly txPages: SharedPages;
  readonly rxPages: SharedPages;
  readonly txChannel: EventChannel;
  readonly rxChannel: EventChannel;
  /** The rings were revoked: the pages may be anybody's by now. */
  revoked = false;
  private ids = 0;

  constructor(
    private readonly domain: Domain,
    peer: DomainId,
    split: boolean,
    start: number,
  ) {
    this.rings = domain.grants.share(peer, 2, 'write');
    const pages = [this.rings.address, this.rings.address + PAGE_BYTES] as const;
    for (const page of pages) initialiseRing(domain.memory, page, start);
    this.tx = new FrontRing(domain.memory, pages[0], TX_RING_SLOTS, txRequest.size, start);
    this.rx = new FrontRing(domain.memory, pages[1], RX_RING_SLOTS, rxRequest.size, start);
    this.txPages = domain.grants.share(peer, PAGES, 'read');
    this.rxPages = domain.grants.share(peer, PAGES, 'write');
    this.txChannel = domain.events.allocateUnbound(peer, () => this.txChannel.unmask());
    this.rxChannel = split
      ? domain.events.allocateUnbound(peer, () => this.rxChannel.unmask())
      : this.txChannel;
  }

  ring(name: RingName): FrontRing {
    return name === 'tx' ? this.tx : this.rx;
  }

  header(name: RingName): number {
    return (this.rings.address + (name === 'tx' ? 0 : PAGE_BYTES)) >>> 2;
  }

  channel(name: RingName): EventChannel {
    return name === 'tx' ? this.txChannel : this.rxChannel;
  }

  /** Puts bytes into the next transmit slot. */
  slot(bytes: ArrayLike<number>): void {
    this.domain.memory.bytes.set(bytes, this.tx.slot(this.tx.produced));
    this.tx.produced = (this.tx.produced + 1) >>> 0;
  }

  request(page: number, offset: number, flags: number, id: number, size: number): void {
    const gref = page < FOREIGN_REFERENCES ? this.txPages.refs[page % PAGES]! : page - FOREIGN_REFERENCES;
    this.slot(encode(txRequest, { gref, offset, flags, id, size }));
  }

  /** A whole packet, page by page. */
  packet(length: number): void {
    for (let at = 0; at < length; at += PAGE_BYTES) {
      const bytes = Math.min(PAGE_BYTES, length - at);
      const more = at + bytes < length ? TxFlag.moreData : 0;
      this.request(this.tx.produced % PAGES, 0, more, this.ids++ & 0xffff, at === 0 ? length : bytes);
    }
  }

  post(count: number): void {
    const { domain, rx, rxPages } = this;
    for (let n = Math.min(count, RX_RING_SLOTS); n > 0; n--) {
      const page = rx.produced % PAGES;
      const gref = rxPages.refs[page]!;
      domain.memory.bytes.set(encode(rxRequest, { id: rx.produced & 0xffff, gref }), rx.slot(rx.produced));
      rx.produced = (rx.produced + 1) >>> 0;
    }
    if (rx.publish()) this.rxChannel.notify();
  }

  /** Entries of a list of static grants: pages one after the other, those that are written to first. */
  staticGrants(first: number, count: number): number[] {
    const bytes: number[] = [];
    for (let n = 0; n < Math.min(count, PAGE_BYTES / grefEntry.size); n++) {
      const page = (first + n) % (2 * PAGES);
      const isRead = page >= PAGES;
      const ref = (isRead ? this.txPages : this.rxPages).refs[page % PAGES]!;
      bytes.push(...encode(grefEntry, { ref, flags: isRead ? GrefFlag.readOnly : 0, status: 0 }));
    }
    return bytes;
  }

  revoke(what: RingName | 'rings'): void {
    ({ tx: this.txPages, rx: this.rxPages, rings: this.rings })[what].release();
    if (what === 'rings') this.revoked = true;
  }

  take(): void {
    for (const ring of [this.tx, this.rx]) {
      ring.consumed = (ring.consumed + Math.max(0, ring.available())) >>> 0;
      ring.arm();
    }
  }

  hangUp(): void {
    this.rxChannel.close();
    this.txChannel.close();
  }

  /** Gives the pages back; false while the backend has some of them. */
  release(): boolean {
    this.hangUp();
    return [this.rings, this.txPages, this.rxPages].map((pages) => pages.release()).every((gone) => gone);
  }
}

/**
 * A frontend that is told what to do.
 *
 * @example
 * ```ts
 * const peer = new HostileFrontend(guest, 0, 0);
 * for (const operation of operations) await peer.perform(operation);
 * ```
 */
export class HostileFrontend {
  private readonly path: string;
  private queues: HostileQueue[] = [];
  private control: HostileControl | null = null;
  private old: (HostileQueue | HostileControl)[] = [];

  /**
   * @param domain the guest.
   * @param backend the domain that serves the vif.
   * @param handle number of the vif.
   */
  constructor(
    private readonly domain: Domain,
    private readonly backend: DomainId,
    handle: number,
  ) {
    this.path = `device/vif/${handle}`;
  }

  /**
   * Carries out one operation. What the machine refuses (no memory, no rights) is as if it had not been asked for.
   * @returns whether it had any effect here: an operation on a queue that is not there has none.
   */
  async perform(operation: FrontendOperation): Promise<boolean> {
    try {
      switch (operation.op) {
        case 'key':
          await this.writeKey(operation.name, operation.value);
          return true;
        case 'state':
          await switchState(this.domain.store, this.path, operation.state as XenbusStateValue);
          return true;
        case 'connect':
          await this.connect();
          return true;
        case 'open':
          return this.open(operation.queues, operation.split, operation.start);
        case 'hangUp':
          for (const queue of this.queues) queue.hangUp();
          this.control?.hangUp();
          return this.queues.length > 0;
        case 'control':
          return this.ask(operation);
        default: {
          const queue = this.queues[operation.queue % Math.max(1, this.queues.length)];
          if (queue === undefined || queue.revoked) return false;
          this.onQueue(queue, operation);
          return true;
        }
      }
    } catch (error) {
      if (error instanceof MachineError || error instanceof StoreError) return false;
      throw error;
    }
  }

  /** Gives everything back; false while the backend has pages of it. */
  end(): boolean {
    this.old.push(...this.queues.splice(0));
    if (this.control !== null) this.old.push(this.control);
    this.control = null;
    this.old = this.old.filter((queue) => !queue.release());
    return this.old.length === 0;
  }

  private onQueue(
    queue: HostileQueue,
    operation: Exclude<
      FrontendOperation,
      { op: 'key' | 'state' | 'connect' | 'open' | 'hangUp' | 'control' }
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
      case 'request': {
        const { page, offset, flags, id, size } = operation;
        queue.request(page, offset, flags, id, size);
        break;
      }
      case 'slot':
        queue.slot(operation.bytes.slice(0, txRequest.size));
        break;
      case 'packet':
        queue.packet(operation.length);
        break;
      case 'publish':
        if (queue.tx.publish()) queue.txChannel.notify();
        break;
      case 'post':
        queue.post(operation.count);
        break;
      case 'take':
        queue.take();
        break;
      case 'revoke':
        queue.revoke(operation.what);
        break;
    }
  }

  private open(queues: number, split: boolean, start: number): boolean {
    this.end();
    for (let n = Math.min(Math.max(queues, 1), 4); n > 0; n--) {
      const queue = new HostileQueue(this.domain, this.backend, split, start >>> 0);
      this.domain.memory.bytes.fill(
        FILLING,
        queue.txPages.address,
        queue.txPages.address + PAGES * PAGE_BYTES,
      );
      this.queues.push(queue);
    }
    this.control = new HostileControl(this.domain, this.backend, start >>> 0);
    return true;
  }

  /** Something by the control ring, if there is one. */
  private ask({ type, data, reference, page }: Extract<FrontendOperation, { op: 'control' }>): boolean {
    const { control, queues } = this;
    const queue = queues[0];
    if (control === null || queue === undefined) return false;
    if ('grants' in page) control.fill(queue.staticGrants(page.first, page.grants));
    else control.fill(page);
    const numbers: [number, number, number] = [...data];
    if (reference !== null) numbers[reference] = control.reference;
    control.ask(type, numbers);
    return true;
  }

  private async connect(): Promise<void> {
    const { store } = this.domain;
    const keys: Record<string, string> = { ...features, ...this.control?.keys };
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
    await store.transaction(async (transaction) => {
      for (const [key, value] of Object.entries(keys))
        await store.write(`${this.path}/${key}`, value, transaction);
      await switchState(store, this.path, 4, transaction);
    });
  }

  private async writeKey(name: string, value: string | null): Promise<void> {
    const { store } = this.domain;
    if (value === null) await store.remove(`${this.path}/${name}`);
    else await store.write(`${this.path}/${name}`, value);
  }
}
