// The good plugin's back half: drives the card for one guest, with the guest's slots and buffers mapped, and claims
// the flows that it sees arrive for the guest on the slow path.
import { CONTRACT_VERSION, defineBackendAccelerator } from '../../src/index.js';
import type { BackendAccelerator, BackendServices, EventEnd, Frame, MappedPages } from '../../src/index.js';
import { CARD, flowOf } from './memory-card.js';
import type { CardDevice } from './memory-card.js';
import { Message, PAGE, RX, Slot, TX, decodePages, encodeOpened } from './memory-protocol.js';

const SEEN = 2;
/** A flow that had a frame within this time does not give way. */
const IN_USE_MS = 1000;
/** How long an address is not told of again. */
const AGAIN_MS = 60_000;

class MemoryVif implements BackendAccelerator {
  private readonly maps: MappedPages[] = [];
  private pages: number[] = [];
  private session = 0;
  private generation = 0;
  private end: EventEnd | null = null;
  private fetched = 0;
  private done = 0;
  private received = 0;
  private over = false;
  private readonly stops: (() => void)[] = [];
  private readonly claims = new Map<string, number>();
  private readonly counts = new Map<string, number>();
  private readonly told = new Map<string, { readonly where: number; readonly at: number }>();
  private chain: Promise<void> = Promise.resolve();
  private readonly view: DataView;
  private readonly mac: string;

  constructor(
    private readonly services: BackendServices,
    private readonly card: CardDevice,
  ) {
    const { mailbox, memory, port, vif } = services;
    this.view = new DataView(memory.bytes.buffer, memory.bytes.byteOffset);
    this.mac = [...vif.mac].join(':');
    // First what may fail: once there are handlers the guest's half is answered.
    this.stops.push(port.onReset(() => services.failed('the card was reset')));
    const refused = { ok: false, payload: new Uint8Array(0) };
    const yes = { ok: true, payload: new Uint8Array(0) };
    mailbox.handle(Message.pages, (payload) => {
      const { first, refs } = decodePages(payload);
      if (this.over || this.session !== 0 || first !== this.pages.length) return refused;
      if (first + refs.length > TX.pages + RX.pages) return refused;
      const mapped = services.map(refs, 'write');
      this.maps.push(mapped);
      this.pages.push(...mapped.addresses);
      return yes;
    });
    mailbox.handle(Message.open, () => {
      if (this.over || this.session !== 0 || this.pages.length !== TX.pages + RX.pages) return refused;
      this.start();
      return { ok: true, payload: encodeOpened(this.end!.port, vif.addresses) };
    });
    mailbox.handle(Message.quiesce, () => {
      this.stop();
      return yes;
    });
  }

  async remove(): Promise<void> {
    await Promise.resolve();
    this.over = true;
    this.stop();
    if (this.session !== 0 && this.card.generation === this.generation) this.card.close(this.session);
    this.session = 0;
    for (const mapped of this.maps.splice(0)) mapped.unmap();
    this.pages = [];
    this.end?.close();
  }

  describe(): Readonly<Record<string, unknown>> {
    return { session: this.session, claims: [...this.claims.keys()] };
  }

  private start(): void {
    const { services, card } = this;
    const end = (this.end = services.events.open(() => {
      end.unmask();
      this.fetch();
    }));
    this.generation = card.generation;
    this.session = card.open({
      sent: () => {
        this.word(TX.consumer, ++this.done);
        this.end?.notify();
      },
      receive: (bytes, claim, good) => this.receive(bytes, claim, good),
      failed: (kind) => services.failed(`the card failed: ${kind}`),
    });
    const { port } = services;
    this.stops.push(port.onReceive((frame) => this.see(frame)));
    this.stops.push(port.onTransmit((frame) => this.place(frame, 0)));
    this.stops.push(
      port.onLink((up) => {
        this.tell(Message.link, Uint8Array.of(up ? 1 : 0));
      }),
    );
  }

  private stop(): void {
    for (const stop of this.stops.splice(0)) stop();
    if (this.card.generation === this.generation)
      for (const claim of this.claims.values()) this.card.unclaim(this.session, claim);
    this.claims.clear();
  }

  /** Takes what the guest posted. Its index is bounded: nobody posts more than there are slots. */
  private fetch(): void {
    if (this.session === 0 || this.over) return;
    const produced = this.read(TX.producer);
    if (produced - this.done > TX.slots)
      return this.services.failed('the guest posts more than there are slots');
    while (this.fetched < produced) {
      const slot = this.fetched++ % TX.slots;
      const row = TX.ring + slot * Slot.bytes;
      const length = Math.min(this.read(row + Slot.length), TX.bytes);
      const segmentBytes = this.read(row + Slot.segment);
      const blank = this.read(row + Slot.flags) === 1;
      const bytes = (): Uint8Array => this.copy(TX.buffers + slot * TX.bytes, length);
      this.card.transmit(this.session, { cookie: slot, bytes, blank, segmentBytes });
    }
  }

  private receive(bytes: Uint8Array, claim: number, good: boolean): void {
    const taken = this.read(RX.taken);
    if (this.read(RX.posted) - taken <= 0 || bytes.length > RX.bytes) return;
    const buffer = this.read(RX.free + (taken % RX.slots) * 4) % RX.slots;
    this.word(RX.taken, taken + 1);
    const at = RX.buffers + buffer * RX.bytes;
    this.services.memory.bytes.set(bytes, this.at(at));
    const row = RX.ring + (this.received++ % RX.slots) * Slot.bytes;
    this.word(row + Slot.length, bytes.length);
    this.word(row + Slot.flags, good ? 1 : 0);
    this.word(row + Slot.segment, claim);
    this.word(row + Slot.buffer, buffer);
    this.word(RX.producer, this.received);
    this.end?.notify();
  }

  private see(frame: Frame): void {
    const bytes = this.services.memory.bytes.slice(frame.address, frame.address + frame.length);
    if (bytes.length < 14) return;
    const { mac, key } = flowOf(bytes);
    if (mac !== this.mac) return;
    this.place(frame, 1);
    if (key === '' || this.claims.has(key)) return;
    const seen = (this.counts.get(key) ?? 0) + 1;
    if (this.counts.size > 256) this.counts.clear();
    this.counts.set(key, seen);
    if (seen < SEEN || !this.hasRoom()) return;
    this.claims.set(key, 0);
    this.queue(async () => {
      const { services, card } = this;
      const claim = card.claim(this.session, { mac: this.mac, key });
      this.claims.set(key, claim);
      await services.port.received();
      const [fence] = await services.fence();
      const payload = new Uint8Array(8);
      const view = new DataView(payload.buffer);
      view.setUint32(0, claim);
      view.setUint32(4, fence!);
      await services.mailbox.request(Message.claim, payload, 10_000);
    });
  }

  /** Whether there is room for one more claim, if need be in the place of the one unused for longest. */
  private hasRoom(): boolean {
    const { card, claims, services, session } = this;
    if (claims.size < services.limits.maxFilters) return true;
    let oldest: { readonly key: string; readonly claim: number; readonly used: number } | null = null;
    for (const [key, claim] of claims) {
      const used = claim === 0 ? Infinity : card.lastUsed(session, claim);
      if (used < (oldest?.used ?? Infinity)) oldest = { key, claim, used };
    }
    if (oldest === null || services.clock.now() - oldest.used < IN_USE_MS) return false;
    card.unclaim(session, oldest.claim);
    claims.delete(oldest.key);
    this.counts.delete(oldest.key);
    return true;
  }

  /** A source that was seen: across the wire, or here. */
  private place(frame: Frame, where: 0 | 1): void {
    const source = this.services.memory.bytes.slice(frame.address + 6, frame.address + 12);
    const mac = [...source].join(':');
    if ((source[0]! & 1) !== 0 || mac === this.mac) return;
    const now = this.services.clock.now();
    const told = this.told.get(mac);
    if (told?.where === where && now - told.at < AGAIN_MS) return;
    if (this.told.size > 256) this.told.clear();
    this.told.set(mac, { where, at: now });
    this.tell(Message.address, Uint8Array.of(where, ...source));
  }

  private tell(type: number, payload: Uint8Array): void {
    this.queue(async () => {
      await this.services.mailbox.request(type, payload, 1000);
    });
  }

  private queue(job: () => Promise<void>): void {
    this.chain = this.chain
      .then(async () => {
        if (!this.over) await job();
      })
      .catch((error: unknown) => {
        if (!this.over) this.services.log('debug', String(error));
      });
  }

  private at(offset: number): number {
    return this.pages[Math.floor(offset / PAGE)]! + (offset % PAGE);
  }

  private read(offset: number): number {
    return this.view.getUint32(this.at(offset));
  }

  private word(offset: number, value: number): void {
    if (this.pages.length > 0) this.view.setUint32(this.at(offset), value);
  }

  private copy(offset: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    for (let i = 0; i < length; i += PAGE) {
      const from = this.at(offset + i);
      bytes.set(this.services.memory.bytes.subarray(from, from + Math.min(PAGE, length - i)), i);
    }
    return bytes;
  }
}

export const back = defineBackendAccelerator({
  name: 'memory-back',
  version: '1.2.3',
  contract: CONTRACT_VERSION,
  frontend: 'memory-front',
  capabilities: { receiveFilters: 4 },
  supports: (device) => (device as { kind?: unknown } | null)?.kind === CARD,
  probe: (services) => {
    if (services.rateBytesPerSecond > 0)
      return Promise.reject(new Error('a vif with a rate limit goes the slow path'));
    return Promise.resolve(new MemoryVif(services, services.port.device as CardDevice));
  },
});
