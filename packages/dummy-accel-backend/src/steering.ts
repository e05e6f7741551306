/**
 * Leads flows to a guest's VI: looks at what arrives for it on the slow path, inserts a filter for each flow within
 * the quota, and takes filters away that nobody uses. It also tells the guest which addresses are across the wire,
 * and which are not any more.
 *
 * Order: a filter takes effect in the NIC at once, so frames that are already with the driver domain are slower
 * than the first fast one. The guest is told of the filter with a fence behind them, and holds until it has passed.
 */
import type { BackendServices, Frame } from '@netaccel/core-hooks';
import {
  ControlMessage,
  EtherType,
  FrameHeaders,
  HEADER_ROOM,
  MacTable,
  Protocol,
  UNKNOWN_PORT,
  UNTAGGED,
  encodeAddress,
  encodeFilter,
  macHigh,
  macLow,
  network16,
} from '@netaccel/nic-vi';
import type { FilterId, NicControl, ViId } from '@netaccel/nic-vi';
import { FlowTable } from './flow-table.js';

/** A flow must be seen so often before it may push another one out. */
const SEEN_TO_EVICT = 2;
/** How often filters are looked at, and after how many looks without a frame one is taken away. */
const LOOK_MS = 5000;
const IDLE_LOOKS = 6;
/** Addresses across the wire that the guest was told of, and for how long that is believed. */
const ANNOUNCED = 256;
const ANNOUNCED_MS = 60_000;
/** Control messages that may be under way for one vif; what is more is dropped and told again later. */
const MAX_UNDERWAY = 32;
/** Times that an address that came to this host is told until the guest has acknowledged it. */
const LOCAL_TRIES = 5;
const ACROSS = 0;
const GROUP_BIT = 1;
const RARP = 0x8035;
const ICMPV6 = 58;
const NEIGHBOUR_ADVERTISEMENT = 136;

interface Installed {
  readonly id: FilterId;
  readonly slot: number;
  hits: number;
  idleLooks: number;
}

/** Steers one vif's flows. */
export class Steering {
  private readonly headers: FrameHeaders;
  private readonly macHigh: number;
  private readonly macLow: number;
  private readonly flows = new FlowTable();
  private readonly installed = new Map<FilterId, Installed>();
  private readonly announced = new MacTable(ANNOUNCED, ANNOUNCED_MS);
  private readonly ends: (() => void)[];
  private cancelLook: () => void;
  private underway = 0;
  private stopped = false;
  private readonly counters = { inserted: 0, evicted: 0, aged: 0, strays: 0, refused: 0, quotaFull: 0 };

  /** Begins to look. */
  constructor(
    private readonly services: BackendServices,
    private readonly control: NicControl,
    private readonly vi: ViId,
  ) {
    const { vif, port, memory, clock } = services;
    this.headers = new FrameHeaders(memory);
    this.macHigh = macHigh(vif.mac, 0);
    this.macLow = macLow(vif.mac, 0);
    this.ends = [
      port.onReceive((frame) => {
        this.arrived(frame);
      }),
      port.onTransmit((frame) => {
        this.left(frame);
      }),
    ];
    this.cancelLook = clock.after(LOOK_MS, () => {
      this.look();
    });
  }

  /** Looks no more and takes every filter away; what was under way is void. */
  stop(): void {
    this.stopped = true;
    for (const end of this.ends.splice(0)) end();
    this.cancelLook();
    for (const { id, slot } of [...this.installed.values()]) this.take(id, slot);
  }

  /** As `stop`, and resolves when no frame is on its way to the VI by a filter. */
  async quiesce(): Promise<void> {
    this.stop();
    await this.services.port.received();
  }

  /** The guest got a frame that was not for it by this filter: its own filter goes, another's does not. */
  stray(id: number): void {
    const filter = this.installed.get(id);
    if (filter === undefined) return;
    this.counters.strays++;
    this.withdraw(filter);
  }

  /** For `explain`. */
  describe(): Readonly<Record<string, unknown>> {
    return {
      ...this.counters,
      quota: this.services.limits.maxFilters,
      installed: this.control.filters(this.vi).map(({ id, spec, hits }) => ({ id, spec, hits })),
    };
  }

  /** A frame from the wire on the slow path. Looks only; what follows is done outside of the frame path. */
  private arrived(frame: Frame): void {
    const { bytes } = this.services.memory;
    const at = frame.address;
    if (frame.length < 14) return;
    this.announce(macHigh(bytes, at + 6), macLow(bytes, at + 6), at + 6);
    if (macHigh(bytes, at) !== this.macHigh || macLow(bytes, at) !== this.macLow) return;
    const h = this.headers;
    if (!h.parse(at, Math.min(frame.length, HEADER_ROOM), frame.totalBytes) || h.payload === 0) return;
    const slot = this.flows.find(h);
    if (slot < 0 || this.flows.isTaken(slot)) return;
    const seen = this.flows.see(slot);
    if (this.installed.size + this.flows.pending >= this.services.limits.maxFilters) {
      if (seen < SEEN_TO_EVICT || !this.evict()) {
        this.counters.quotaFull++;
        return;
      }
    }
    this.flows.take(slot);
    void this.insert(slot, bytes, at);
  }

  /** Inserts a filter, and tells the guest where its fast frames begin. */
  private async insert(slot: number, bytes: Uint8Array, at: number): Promise<void> {
    const { services, control, flows } = this;
    const h = this.headers;
    const length = h.version === 4 ? 4 : 16;
    const address = at + h.l3 + (h.version === 4 ? 16 : 24);
    const flow = {
      mac: services.vif.mac,
      protocol: h.protocol === Protocol.tcp ? ('tcp' as const) : ('udp' as const),
      localAddress: bytes.slice(address, address + length),
      localPort: network16(h.ports >>> 16),
      ...(h.vlan === UNTAGGED ? {} : { vlan: h.vlan }),
    };
    let id: FilterId;
    try {
      id = control.addFilter(this.vi, { kind: 'local', ...flow });
    } catch (error) {
      this.counters.refused++;
      flows.refuse(slot);
      services.log('debug', `no filter: ${String(error)}`);
      return;
    }
    flows.installed(slot);
    this.counters.inserted++;
    const filter: Installed = { id, slot, hits: 0, idleLooks: 0 };
    this.installed.set(id, filter);
    try {
      await services.port.received(); // frames that the NIC gave to the driver domain before the filter
      const fence = await services.fence(); // and all that is on its way to the guest
      if (this.stopped || this.installed.get(id) !== filter) return;
      const payload = encodeFilter({
        added: true,
        filter: id,
        protocol: flow.protocol,
        localAddress: flow.localAddress,
        localPort: flow.localPort,
        remoteAddress: null,
        remotePort: 0,
        vlan: flow.vlan ?? null,
        fence,
      });
      const reply = await services.mailbox.request(ControlMessage.filter, payload);
      if (!reply.ok) throw new Error('the guest refused it');
    } catch (error) {
      // A guest that was not told would hold the flow's frames for ever: the flow stays slow.
      if (this.installed.get(id) === filter) this.take(id, slot);
      if (!this.stopped) services.log('warn', `filter ${id} was taken back: ${String(error)}`);
    }
  }

  /** Makes room by taking the filter away that was used least recently, if it rests. */
  private evict(): boolean {
    let oldest: { id: FilterId; lastHitUs: number } | null = null;
    for (const state of this.control.filters(this.vi)) {
      const filter = this.installed.get(state.id);
      // One that had a frame since the last look is in use: no flow pushes it out, so two never push in turns.
      if (filter === undefined || state.hits !== filter.hits) continue;
      if (oldest === null || state.lastHitUs < oldest.lastHitUs) oldest = state;
    }
    if (oldest === null) return false;
    this.counters.evicted++;
    this.withdraw(this.installed.get(oldest.id)!);
    return true;
  }

  /** Takes filters away that nobody uses. */
  private look(): void {
    for (const { id, hits } of this.control.filters(this.vi)) {
      const filter = this.installed.get(id);
      if (filter === undefined) continue;
      filter.idleLooks = hits === filter.hits ? filter.idleLooks + 1 : 0;
      filter.hits = hits;
      if (filter.idleLooks < IDLE_LOOKS) continue;
      this.counters.aged++;
      this.withdraw(filter);
    }
    this.cancelLook = this.services.clock.after(LOOK_MS, () => {
      this.look();
    });
  }

  /** Takes a filter away and tells the guest. */
  private withdraw(filter: Installed): void {
    this.take(filter.id, filter.slot);
    this.tell(
      ControlMessage.filter,
      encodeFilter({
        added: false,
        filter: filter.id,
        protocol: 'tcp',
        localAddress: new Uint8Array(4),
        localPort: 0,
        remoteAddress: null,
        remotePort: 0,
        vlan: null,
        fence: [],
      }),
    );
  }

  private take(id: FilterId, slot: number): void {
    this.installed.delete(id);
    this.flows.release(slot);
    this.control.removeFilter(id);
  }

  /** Tells the guest, once in a while, that an address is across the wire. */
  private announce(high: number, low: number, at: number): void {
    const { services } = this;
    const now = services.clock.now();
    if ((high & GROUP_BIT) !== 0 || this.underway >= MAX_UNDERWAY) return;
    if (this.announced.find(high, low, now) !== UNKNOWN_PORT) return;
    this.announced.learn(high, low, ACROSS, now);
    this.tell(ControlMessage.remoteAddress, encodeAddress(services.memory.bytes.slice(at, at + 6)));
  }

  /** A frame that leaves for the wire: one by which an address says that it is on this host now. */
  private left(frame: Frame): void {
    const { bytes } = this.services.memory;
    const at = frame.address;
    if (frame.length < 42 || (bytes[at]! & GROUP_BIT) === 0) return;
    const type = (bytes[at + 12]! << 8) | bytes[at + 13]!;
    const isNotice =
      type === EtherType.arp ||
      type === RARP ||
      (type === EtherType.ipv6 && frame.length > 54 && bytes[at + 20] === ICMPV6 && bytes[at + 54] === NEIGHBOUR_ADVERTISEMENT);
    if (!isNotice) return;
    const high = macHigh(bytes, at + 6);
    const low = macLow(bytes, at + 6);
    if (high === this.macHigh && low === this.macLow) return;
    this.announced.forget(high, low);
    if (this.underway < MAX_UNDERWAY) void this.tellLocal(encodeAddress(bytes.slice(at + 6, at + 12)));
  }

  /** A guest that did not learn of this would send into the wire what is for its neighbour: told until acknowledged. */
  private async tellLocal(payload: Uint8Array): Promise<void> {
    for (let i = 0; i < LOCAL_TRIES && !this.stopped; i++) {
      try {
        if ((await this.services.mailbox.request(ControlMessage.localAddress, payload)).ok) return;
      } catch {
        // Tried again: the mailbox was full, or the guest slow.
      }
    }
    if (!this.stopped) this.services.failed('the guest does not acknowledge an address that came to this host');
  }

  private tell(type: number, payload: Uint8Array): void {
    if (this.stopped) return;
    this.underway++;
    this.services.mailbox
      .request(type, payload)
      .catch((error: unknown) => {
        if (!this.stopped) this.services.log('debug', `message ${type} was not delivered: ${String(error)}`);
      })
      .finally(() => this.underway--);
  }
}
