/**
 * One connection with a frontend: everything that exists from when its keys were read until it goes.
 *
 * Holds the mapped rings, the channels, and each queue's memory; `close` gives back all of it, whatever the
 * guest does, and needs nothing from the guest. Made and closed by the handshake of `Netback`; carries frames
 * in between.
 */
import type { Address, Frame, FrameSink, MappedPages, ReceiveFence } from '@netaccel/core-hooks';
import { BackRing } from '@netaccel/xen';
import type { Domain, DomainId } from '@netaccel/xen';
import { RX_RING_SLOTS, TX_RING_SLOTS, rxRequest, txRequest } from '@netaccel/xen/netif';
import { Backlog } from './backlog.js';
import type { TransmitBuffers } from './buffers.js';
import { CONTROL_RING_SLOTS, controlRequest } from '@netaccel/xen/netif';
import { ControlRing } from './control.js';
import type { Credit } from './credit.js';
import { Fences } from './fences.js';
import { flowHash } from './flow.js';
import { HashSettings } from './hash.js';
import type { FrontendKeys, QueueKeys } from './keys.js';
import type { Limits } from './limits.js';
import { GROUP_BIT } from './multicast.js';
import type { MulticastGroups } from './multicast.js';
import { Queue } from './queue.js';
import { MOST_COPIES } from './receive-batch.js';
import { GuestReceive, HEADER_PAGES } from './receive.js';
import { StallWatch } from './stall.js';
import { StaticGrants } from './static-grants.js';
import { RxDrop } from './statistics.js';
import type { OwnAddresses } from './own-addresses.js';
import type { Counters } from './statistics.js';
import { GuestTransmit } from './transmit.js';

/** What a connection is made with. */
export interface ConnectionParts {
  readonly domain: Domain;
  readonly guest: DomainId;
  readonly keys: FrontendKeys;
  readonly network: FrameSink;
  readonly buffers: TransmitBuffers;
  readonly credit: Credit;
  readonly multicast: MulticastGroups;
  readonly own: OwnAddresses;
  readonly counters: Counters;
  readonly limits: Limits;
  /** The guest broke a rule; called at most once. The connection is fenced already: close it from elsewhere. */
  onBreach(what: string): void;
  /** The guest's receiver stalls, or goes on. */
  onStall(stalled: boolean): void;
}

/** A connected vif's rings. */
export class Connection {
  private readonly fences = new Fences();
  private readonly queues: Queue[] = [];
  private readonly mapped: MappedPages[] = [];
  private readonly scratch: Address[] = [];
  private readonly hash: HashSettings;
  private readonly grants: StaticGrants[] = [];
  private control: ControlRing | null = null;
  private fenced = false;
  private stalledQueues = 0;

  /** @throws MachineError when a page cannot be mapped, a port bound or memory had; nothing is held then. */
  constructor(private readonly parts: ConnectionParts) {
    const { control, queues } = parts.keys;
    this.hash = new HashSettings(queues.length);
    try {
      if (control !== null) this.openControl(control.port, control.ref);
      for (const keys of queues) this.open(keys);
    } catch (error) {
      this.close();
      throw error;
    }
    for (const { receive } of this.queues) this.fences.add(receive);
  }

  /** How many queues. */
  get queueCount(): number {
    return this.queues.length;
  }

  /** Frames that wait for the guest to post receive buffers. */
  get queuedFrames(): number {
    return this.queues.reduce((sum, { backlog }) => sum + backlog.length, 0);
  }

  /** Whether the guest has said how its frames are spread over its queues. */
  get hashes(): boolean {
    return this.hash.chosen;
  }

  /** Pages of the guest's that stay mapped, over all queues. */
  get staticGrants(): number {
    return this.grants.reduce((sum, { count }) => sum + count, 0);
  }

  /** One frame for the guest. */
  deliver(frame: Frame): void {
    const { counters, domain, multicast } = this.parts;
    if (this.fenced) {
      counters.rxDropped[RxDrop['not-connected']]!++;
      return;
    }
    if (
      multicast.controlled &&
      (domain.memory.bytes[frame.address]! & GROUP_BIT) !== 0 &&
      !multicast.wants(domain.memory.bytes, frame.address)
    ) {
      counters.rxDropped[RxDrop['multicast-filtered']]!++;
      return;
    }
    const { queues } = this;
    queues[queues.length === 1 ? 0 : this.select(frame)]!.receive.deliver(frame);
  }

  /** The batch is over. */
  flush(): void {
    if (this.fenced) return;
    for (const { receive } of this.queues) receive.flush();
  }

  /** Resolves at a point in the receive stream: see {@link Fences.wait}. */
  fence(): Promise<ReceiveFence> {
    if (this.fenced) this.fences.close();
    return this.fences.wait();
  }

  /** Room before the data of each received slot, from the next packet on. */
  setHeadroom(bytes: number): void {
    if (!this.fenced) for (const { receive } of this.queues) receive.setHeadroom(bytes);
  }

  /** Looks at all rings soon: credit or buffers came back. */
  raise(): void {
    for (const queue of this.queues) queue.raise();
  }

  /** Lets go of everything. Idempotent. */
  close(): void {
    this.fenced = true;
    this.control?.close();
    this.control = null;
    for (const queue of this.queues.splice(0)) queue.close();
    for (const grants of this.grants.splice(0)) grants.close();
    for (const pages of this.mapped.splice(0)) pages.unmap();
    for (const address of this.scratch.splice(0)) this.parts.domain.pages.free(address);
    this.fences.close();
  }

  /** Which of several queues a frame goes to: the guest's choice if it made one, else by flow. */
  private select(frame: Frame): number {
    const { hash } = this;
    const { bytes } = this.parts.domain.memory;
    if (!hash.chosen) return flowHash(bytes, frame.address, frame.length) % this.queues.length;
    hash.compute(bytes, frame);
    return hash.queue();
  }

  /** The control ring, if the guest has one and was offered one. */
  private openControl(port: number, ref: number): void {
    const { domain, guest } = this.parts;
    const pages = domain.foreign.map(guest, [ref], 'write');
    this.mapped.push(pages);
    const scratch = domain.pages.allocate(1);
    this.scratch.push(scratch);
    this.control = new ControlRing({
      domain,
      guest,
      port,
      scratch,
      hash: this.hash,
      grants: (queue) => this.grants[queue],
      ring: new BackRing(domain.memory, pages.addresses[0]!, CONTROL_RING_SLOTS, controlRequest.size),
      breach: (what) => {
        this.breach(what);
      },
    });
  }

  /** Maps, makes and binds one queue; what was got is in the lists that `close` empties, whatever fails. */
  private open(keys: QueueKeys): void {
    const { domain, guest, counters, limits, keys: frontend } = this.parts;
    const { features } = frontend;
    const pages = domain.foreign.map(guest, [keys.txRingRef, keys.rxRingRef], 'write');
    this.mapped.push(pages);
    const txRing = new BackRing(domain.memory, pages.addresses[0]!, TX_RING_SLOTS, txRequest.size);
    const rxRing = new BackRing(domain.memory, pages.addresses[1]!, RX_RING_SLOTS, rxRequest.size);

    // A guest that takes everything as it comes never needs a header rewritten.
    const takesAll = Object.values(features).every((taken) => taken);
    let headers = 0;
    if (!takesAll) this.scratch.push((headers = domain.pages.allocate(HEADER_PAGES)));
    const backlog = new Backlog(domain.memory, domain.pages, limits.backlogBytes, limits.backlogFrames);

    const drainTimeoutMs = features.receiveNotify
      ? limits.drainTimeoutMs
      : limits.drainTimeoutWithoutNotifyMs;
    const stallTimeoutMs = features.receiveNotify ? limits.stallTimeoutMs : Infinity;
    const breach = (what: string) => {
      this.breach(what);
    };
    const grants = new StaticGrants(domain, guest, limits.staticGrants, MOST_COPIES);
    this.grants.push(grants);
    const receive: GuestReceive = new GuestReceive({
      domain,
      grants,
      ring: rxRing,
      peer: features,
      backlog,
      hash: this.hash,
      headers,
      counters,
      drainTimeoutMs,
      breach,
      notify: () => {
        rxChannel.notify();
      },
      waiting: () => {
        stall.waiting();
      },
      drained: (placed) => {
        if (placed) stall.moved();
        this.fences.check();
      },
    });
    const stall = new StallWatch(
      domain.loop,
      receive,
      backlog,
      { drainTimeoutMs, stallTimeoutMs },
      (stalled) => {
        this.stall(stalled);
      },
    );
    const transmit = new GuestTransmit({
      ...this.parts,
      grants,
      ring: txRing,
      malformedInARow: limits.malformedInARow,
      breach,
      notify: () => {
        txChannel.notify();
      },
    });
    const queue = new Queue(domain, {
      txRing,
      transmit,
      receive,
      backlog,
      stall,
      counters,
      budget: limits.budget,
      breach,
    });
    this.queues.push(queue);
    receive.setHeadroom(frontend.headroom);
    const txChannel = queue.bind((handler) => domain.events.bindInterdomain(guest, keys.txPort, handler));
    const rxPort = keys.rxPort;
    const rxChannel =
      rxPort === null
        ? txChannel
        : queue.bind((handler) => domain.events.bindInterdomain(guest, rxPort, handler));
    // A predecessor that crashed may have published responses and not said so: the guest has to look.
    txChannel.notify();
    if (rxChannel !== txChannel) rxChannel.notify();
    queue.raise();
  }

  /** Nothing of the guest's is read from here on; only marked here, torn down by whoever is told (XSA-90). */
  private breach(what: string): void {
    if (this.fenced) return;
    this.fenced = true;
    for (const queue of this.queues) queue.fence();
    this.control?.fence();
    this.parts.counters.breaches++;
    this.parts.onBreach(what);
  }

  private stall(stalled: boolean): void {
    const before = this.stalledQueues > 0;
    this.stalledQueues += stalled ? 1 : -1;
    if (stalled) this.parts.counters.rxStalls++;
    if (this.stalledQueues > 0 !== before) this.parts.onStall(stalled);
  }
}
