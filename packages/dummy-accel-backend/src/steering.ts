/**
 * Leads flows to the guest's VI: a frame for the guest that arrives on the slow path gets its flow a filter, within
 * the quota; filters that nobody uses go. The frame itself stays on the slow path.
 *
 * Order. A filter takes effect in the NIC at once, while earlier frames of the flow are still with the driver domain.
 * So the guest is told of it with a fence behind those, holds the flow's fast frames until that has passed, and only
 * then answers. Until then no other filter changes: one that is taken away is one whose frames nobody holds.
 */
import type { BackendServices, Frame } from '@netaccel/core-hooks';
import {
  ControlMessage,
  ETHERNET_BYTES,
  FlowTable,
  FrameHeaders,
  OwnAddresses,
  Sightings,
  encodeFilter,
  macHigh,
  macLow,
} from '@netaccel/nic-vi';
import type { FilterId, FlowSpec, GuestVi, Outbox } from '@netaccel/nic-vi';

/** Frames within a second that a flow must show before another gives way to it. */
const SEEN_TO_EVICT = 2;
/** A filter that had a frame within this time does not give way: so no two flows push each other out in turns. */
const IN_USE_MS = 1000;
/** After nothing could give way: how long nobody asks again. */
const FULL_PAUSE_MS = 250;
/** How often filters are looked at, and how long an idle one stays. */
const LOOK_MS = 5000;
const IDLE_MS = 30_000;
const GROUP_BIT = 1;

/** A filter in the NIC. */
interface Filter {
  readonly id: FilterId;
  readonly slot: number;
  readonly flow: FlowSpec;
  /** Frames when it was last looked at, and when their number last changed. */
  hits: number;
  activeAt: number;
}

/** The filters of one vif. */
export class Steering {
  private readonly flows = new FlowTable();
  private readonly filters = new Map<FilterId, Filter>();
  private readonly sightings: Sightings;
  private readonly headers: FrameHeaders;
  private readonly bytes: Uint8Array;
  private readonly ownHigh: number;
  private readonly ownLow: number;
  /** The guest's own IP addresses; null when any will do. */
  private readonly own: OwnAddresses | null;
  /** Flows whose filter is being made. */
  private coming = 0;
  private notBefore = 0;
  private stops: (() => void)[] = [];
  private cancelLook: () => void = () => undefined;
  private readonly counters = { added: 0, evicted: 0, aged: 0, strays: 0, refused: 0, full: 0 };

  /**
   * @param services what netback handed over.
   * @param vi where frames are led.
   * @param outbox what the guest is told by, and where every change is made.
   * @param quota filters at most.
   */
  constructor(
    private readonly services: BackendServices,
    private readonly vi: GuestVi,
    private readonly outbox: Outbox,
    private readonly quota: number,
  ) {
    const { memory, vif } = services;
    this.bytes = memory.bytes;
    this.headers = new FrameHeaders(memory);
    this.ownHigh = macHigh(vif.mac, 0);
    this.ownLow = macLow(vif.mac, 0);
    this.own = vif.addresses === undefined ? null : new OwnAddresses(vif.addresses);
    this.sightings = new Sightings(services, outbox);
  }

  /** Begins to look. */
  start(): void {
    const { port } = this.services;
    this.stops.push(port.onReceive((frame) => this.arrived(frame)));
    this.stops.push(port.onTransmit((frame) => this.sightings.leaves(frame)));
    this.lookLater();
  }

  /** Looks no more. What was begun goes on. */
  stop(): void {
    for (const stop of this.stops.splice(0)) stop();
    this.cancelLook();
  }

  /** Takes every filter away. Nobody is told. */
  clear(): void {
    for (const filter of this.filters.values()) this.take(filter);
  }

  /** The guest got a frame that was not for it: its own filter goes. Another's number says nothing. */
  stray(id: FilterId): boolean {
    const filter = this.filters.get(id);
    if (filter === undefined) return false;
    this.counters.strays++;
    return this.outbox.post(() => this.remove(filter));
  }

  /** For `explain`. */
  describe(): Readonly<Record<string, unknown>> {
    return {
      ...this.counters,
      untold: this.sightings.untold,
      quota: this.quota,
      installed: [...this.refresh()].map(({ id, flow, hits }) => ({
        id,
        ...flow,
        mac: [...this.services.vif.mac],
        localAddress: [...Uint8Array.from(flow.localAddress)],
        hits,
      })),
    };
  }

  /** A frame from the wire, on the slow path. Looks only; the rest is a job. */
  private arrived(frame: Frame): void {
    const { bytes, flows, headers } = this;
    const { address } = frame;
    if (frame.length < ETHERNET_BYTES) return;
    if (macLow(bytes, address) !== this.ownLow || macHigh(bytes, address) !== this.ownHigh) {
      if ((bytes[address]! & GROUP_BIT) !== 0) this.sightings.arrived(frame);
      return;
    }
    this.sightings.arrived(frame);
    // Only what has its whole transport header: no fragment, nothing broken or cut off.
    if (!headers.parse(address, frame.length, frame.totalBytes) || headers.payload === 0) return;
    if (this.own !== null && !this.own.hasDestination(headers)) return;
    const slot = flows.find(headers);
    if (slot < 0 || flows.isTaken(slot)) return;
    const now = this.services.clock.now();
    const seen = flows.see(slot, now);
    if (this.filters.size + this.coming >= this.quota && (seen < SEEN_TO_EVICT || now < this.notBefore))
      return;
    if (!this.outbox.post(() => this.insert(slot))) return;
    flows.take(slot);
    this.coming++;
  }

  private async insert(slot: number): Promise<void> {
    this.coming--;
    const filter = (await this.makeRoom()) ? this.add(slot) : null;
    if (filter === null) {
      this.flows.free(slot);
      return;
    }
    const { services, outbox } = this;
    await services.port.received(); // what the NIC gave the driver domain before the filter was there
    const fence = await services.fence(); // and what of that is on its way to the guest
    if (!(await outbox.tell(ControlMessage.filter, encodeChange(filter, true, fence)))) this.take(filter);
  }

  private add(slot: number): Filter | null {
    const { vi, services, counters } = this;
    if (vi.current === null || this.outbox.closed) return null;
    const flow = this.flows.spec(slot, services.vif.mac);
    try {
      const id = vi.nic.addFilter(vi.current, { kind: 'local', ...flow });
      const filter: Filter = { id, slot, flow, hits: 0, activeAt: services.clock.now() };
      this.filters.set(id, filter);
      counters.added++;
      return filter;
    } catch (error) {
      // No room in the NIC, or another vif has this very key: the flow stays slow.
      counters.refused++;
      services.log('debug', `no filter: ${String(error)}`);
      return null;
    }
  }

  /** Takes the filter away that was idle for longest, if there is no room and one was idle at all. */
  private async makeRoom(): Promise<boolean> {
    if (this.filters.size < this.quota) return true;
    const now = this.services.clock.now();
    let oldest: Filter | null = null;
    for (const filter of this.refresh())
      if (oldest === null || filter.activeAt < oldest.activeAt) oldest = filter;
    if (oldest === null || now - oldest.activeAt < IN_USE_MS) {
      this.counters.full++;
      this.notBefore = now + FULL_PAUSE_MS;
      return false;
    }
    this.counters.evicted++;
    await this.remove(oldest);
    return true;
  }

  /** The filters, with their hits of now. */
  private refresh(): Iterable<Filter> {
    const now = this.services.clock.now();
    const states = this.vi.current === null ? [] : this.vi.nic.filters(this.vi.current);
    for (const { id, hits } of states) {
      const filter = this.filters.get(id);
      if (filter === undefined || filter.hits === hits) continue;
      filter.hits = hits;
      filter.activeAt = now;
    }
    return this.filters.values();
  }

  private lookLater(): void {
    const { services } = this;
    this.cancelLook = services.clock.after(LOOK_MS, () => {
      this.outbox.post(() => this.look());
      this.lookLater();
    });
  }

  private async look(): Promise<void> {
    await this.sightings.mend();
    const now = this.services.clock.now();
    for (const filter of [...this.refresh()]) {
      if (now - filter.activeAt < IDLE_MS) continue;
      this.counters.aged++;
      await this.remove(filter);
    }
  }

  /** Takes a filter away; resolves when the guest has seen the last frame of it. */
  private async remove(filter: Filter): Promise<void> {
    if (this.take(filter)) await this.outbox.tell(ControlMessage.filter, encodeChange(filter, false, []));
  }

  private take(filter: Filter): boolean {
    if (!this.filters.delete(filter.id)) return false;
    this.flows.free(filter.slot);
    if (this.vi.current !== null) this.vi.nic.removeFilter(filter.id);
    return true;
  }
}

function encodeChange({ id, flow }: Filter, added: boolean, fence: readonly number[]): Uint8Array {
  return encodeFilter({
    added,
    filter: id,
    protocol: flow.protocol,
    localAddress: Uint8Array.from(flow.localAddress),
    localPort: flow.localPort,
    remoteAddress: null,
    remotePort: 0,
    vlan: flow.vlan ?? null,
    fence,
  });
}
