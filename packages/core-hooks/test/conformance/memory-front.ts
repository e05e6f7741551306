// The good plugin's front half: copies frames into slots that it shares with the other half, and delivers from
// buffers that it shares likewise. Small on purpose; every rule of the kit holds for it.
import {
  CONTRACT_VERSION,
  Checksum,
  FramePool,
  Segmentation,
  Verdict,
  declined,
  defineFrontendAccelerator,
} from '../../src/index.js';
import type {
  AcceleratorStatistics,
  Frame,
  FrontendAccelerator,
  FrontendServices,
  ReceiveFence,
} from '../../src/index.js';
import { Message, RX, Slot, TX, decodeOpened, encodePages } from './memory-protocol.js';

const no = {
  inactive: declined('inactive'),
  down: declined('link-down'),
  malformed: declined('malformed'),
  group: declined('broadcast'),
  unknown: declined('unknown-destination'),
  vlan: declined('vlan'),
  ip: declined('not-ip'),
  transport: declined('not-tcp-udp'),
  fragment: declined('ip-fragment'),
  long: declined('too-long'),
  spoofed: declined('spoofed'),
  segmentation: declined('segmentation'),
};

/** How long an address is believed to be across the wire without a word from it. */
const AGEING_MS = 300_000;

class MemoryDevice implements FrontendAccelerator {
  private active = true;
  linkUp = true;
  private readonly across = new Map<string, number>();
  private readonly taken: (Frame | null)[] = new Array<Frame | null>(TX.slots).fill(null);
  private produced = 0;
  private completed = 0;
  private consumed = 0;
  private wanted = false;
  private rung = 0;
  private readonly pool: FramePool;
  private readonly held: { frame: Frame; claim: number; slot: number }[] = [];
  private readonly open = new Set<number>();
  private coming: { claim: number; fence: ReceiveFence; done: (ok: boolean) => void } | null = null;
  private readonly totals = { txFrames: 0, txBytes: 0, rxFrames: 0, rxBytes: 0 };
  private readonly view: DataView;

  constructor(
    private readonly services: FrontendServices,
    private readonly base: number,
    private readonly ring: () => void,
    private readonly unmask: () => void,
    private readonly releases: (() => void)[],
    private readonly addresses: readonly Uint8Array[],
  ) {
    const { bytes } = services.memory;
    this.view = new DataView(bytes.buffer, bytes.byteOffset);
    this.pool = new FramePool(RX.slots, base + RX.buffers, RX.bytes);
    for (let i = 0; i < RX.slots; i++) this.post(i);
    const yes = { ok: true, payload: new Uint8Array(0) };
    const nope = { ok: false, payload: new Uint8Array(0) };
    services.mailbox.handle(Message.address, (payload) => {
      if (payload.length !== 7 || payload[0]! > 1 || (payload[1]! & 1) !== 0) return nope;
      const mac = [...payload.subarray(1)].join(':');
      if (payload[0] === 1) {
        if (this.across.size < 256) this.across.set(mac, services.clock.now());
      } else this.across.delete(mac);
      return yes;
    });
    services.mailbox.handle(Message.link, (payload) => {
      if (payload.length !== 1 || payload[0]! > 1) return nope;
      this.linkUp = payload[0] === 1;
      return yes;
    });
    services.mailbox.handle(Message.claim, (payload) => {
      if (payload.length !== 8 || this.coming !== null) return nope;
      const view = new DataView(payload.buffer, payload.byteOffset);
      return new Promise((resolve) => {
        const done = (ok: boolean): void => resolve(ok ? yes : nope);
        this.coming = { claim: view.getUint32(0), fence: [view.getUint32(4)], done };
        services.schedulePoll();
      });
    });
  }

  startTransmit(frame: Frame, more: boolean): Verdict {
    const verdict = this.judge(frame);
    if (verdict !== Verdict.sent) return verdict;
    if (this.produced - this.completed === TX.slots) {
      this.wanted = true;
      return Verdict.busy;
    }
    const slot = this.produced % TX.slots;
    let at = this.base + TX.buffers + slot * TX.bytes;
    for (let f: Frame | null = frame; f !== null; f = f.next) {
      this.services.memory.copy(at, f.address, f.length);
      at += f.length;
    }
    const row = this.base + TX.ring + slot * Slot.bytes;
    this.view.setUint32(row + Slot.length, frame.totalBytes);
    this.view.setUint32(row + Slot.flags, frame.checksum === Checksum.blank ? 1 : 0);
    this.view.setUint32(
      row + Slot.segment,
      frame.segmentation === Segmentation.none ? 0 : frame.segmentBytes,
    );
    this.taken[slot] = frame;
    this.produced++;
    this.totals.txFrames++;
    this.totals.txBytes += frame.totalBytes;
    if (!more) this.flush();
    return Verdict.sent;
  }

  flush(): void {
    if (this.rung === this.produced) return;
    this.rung = this.produced;
    this.view.setUint32(this.base + TX.producer, this.produced);
    this.ring();
  }

  poll(budget: number): number {
    const { view, base } = this;
    let work = 0;
    const done = Math.min(view.getUint32(base + TX.consumer), this.produced);
    for (; work < budget && this.completed < done; work++) {
      const frame = this.taken[this.completed++ % TX.slots]!;
      this.services.completed(frame);
    }
    if (this.coming !== null && this.services.passed(this.coming.fence)) {
      const { claim, done: answer } = this.coming;
      while (work < budget) {
        const next = this.held.findIndex((each) => each.claim === claim);
        if (next < 0) break;
        const [{ frame, slot }] = this.held.splice(next, 1) as [(typeof this.held)[0]];
        this.deliver(frame, slot);
        work++;
      }
      if (!this.held.some((each) => each.claim === claim)) {
        this.open.add(claim);
        this.coming = null;
        answer(true);
      }
    }
    for (; work < budget && this.consumed < view.getUint32(base + RX.producer); work++) {
      const row = base + RX.ring + (this.consumed++ % RX.slots) * Slot.bytes;
      const slot = view.getUint32(row + Slot.buffer);
      const frame = this.pool.allocate()!;
      frame.describe(base + RX.buffers + slot * RX.bytes, view.getUint32(row + Slot.length));
      frame.checksum = view.getUint32(row + Slot.flags) === 1 ? Checksum.good : Checksum.unknown;
      const claim = view.getUint32(row + Slot.segment);
      if (this.open.has(claim)) this.deliver(frame, slot);
      else this.held.push({ frame, claim, slot });
    }
    this.repost();
    if (this.wanted && this.checkReady()) {
      this.wanted = false;
      this.services.wake();
    }
    return work;
  }

  startInterrupts(): boolean {
    this.repost();
    const { view, base } = this;
    this.unmask();
    return (
      this.consumed < view.getUint32(base + RX.producer) ||
      this.completed < Math.min(view.getUint32(base + TX.consumer), this.produced) ||
      (this.coming !== null && this.services.passed(this.coming.fence))
    );
  }

  stopInterrupts(): void {
    return;
  }

  checkReady(): boolean {
    return this.produced - this.completed < TX.slots;
  }

  statistics(into: AcceleratorStatistics): void {
    into.txFrames += this.totals.txFrames;
    into.txBytes += this.totals.txBytes;
    into.rxFrames += this.totals.rxFrames;
    into.rxBytes += this.totals.rxBytes;
  }

  async quiesce(): Promise<void> {
    this.active = false;
    this.flush();
    try {
      await this.services.mailbox.request(Message.quiesce, new Uint8Array(0), 500);
    } catch {
      this.services.log('warn', 'the other half does not answer');
    }
  }

  remove(): Promise<void> {
    this.active = false;
    for (const { frame } of this.held.splice(0)) frame.release();
    this.coming?.done(false);
    this.coming = null;
    for (const release of this.releases.splice(0).reverse()) release();
    return Promise.resolve();
  }

  describe(): Readonly<Record<string, unknown>> {
    return { active: this.active, across: [...this.across.keys()], inFlight: this.produced - this.completed };
  }

  private judge(frame: Frame): Verdict {
    const { bytes } = this.services.memory;
    const { address: at, length } = frame;
    if (!this.active) return no.inactive;
    if (!this.linkUp) return no.down;
    if (length < 42) return no.malformed;
    if ((bytes[at]! & 1) !== 0) return no.group;
    const type = (bytes[at + 12]! << 8) | bytes[at + 13]!;
    if (type === 0x8100) return no.vlan;
    if (type !== 0x0800 && type !== 0x86dd) return no.ip;
    const ipv4 = type === 0x0800;
    if (ipv4 ? bytes[at + 14] !== 0x45 : bytes[at + 14]! >>> 4 !== 6) return no.malformed;
    const l4 = at + (ipv4 ? 34 : 54);
    const protocol = bytes[at + (ipv4 ? 23 : 20)]!;
    if (protocol !== 6 && protocol !== 17) return no.transport;
    if (ipv4 && (((bytes[at + 20]! << 8) | bytes[at + 21]!) & 0x3fff) !== 0) return no.fragment;
    if (l4 + (protocol === 6 ? 20 : 8) > at + length) return no.malformed;
    const end = ipv4
      ? 14 + ((bytes[at + 16]! << 8) | bytes[at + 17]!)
      : 54 + ((bytes[at + 18]! << 8) | bytes[at + 19]!);
    if (end > frame.totalBytes || end < l4 - at + 8) return no.malformed;
    if (frame.segmentation !== Segmentation.none) {
      const wants = ipv4 ? Segmentation.tcpv4 : Segmentation.tcpv6;
      const header = l4 - at + (bytes[l4 + 12]! >>> 4) * 4;
      if (protocol !== 6 || frame.segmentation !== wants || end !== frame.totalBytes) return no.segmentation;
      if (frame.segmentBytes < 48 || header < l4 - at + 20 || header + frame.segmentBytes > this.longest)
        return no.segmentation;
      if (header > end) return no.malformed;
    } else if (frame.totalBytes > this.longest) return no.long;
    if (frame.totalBytes > TX.bytes) return no.long;
    for (let i = 0; i < 6; i++) if (bytes[at + 6 + i] !== this.services.vif.mac[i]) return no.spoofed;
    if (!this.isOwnAddress(bytes.subarray(at + (ipv4 ? 26 : 22), at + (ipv4 ? 30 : 38)))) return no.spoofed;
    const heard = this.across.get([...bytes.subarray(at, at + 6)].join(':'));
    if (heard === undefined || this.services.clock.now() - heard > AGEING_MS) return no.unknown;
    return Verdict.sent;
  }

  private isOwnAddress(address: Uint8Array): boolean {
    const { addresses } = this;
    return addresses.length === 0 || addresses.some((own) => own.join() === address.join());
  }

  private get longest(): number {
    return this.services.vif.mtu + 14;
  }

  private deliver(frame: Frame, slot: number): void {
    this.totals.rxFrames++;
    this.totals.rxBytes += frame.totalBytes;
    frame.tag = slot;
    this.services.deliver(frame);
    if (frame.holders === 1) this.freed.push(slot);
    else this.lent.push(frame);
    frame.release();
  }

  /** Buffers to post again, and frames that the stack still has. */
  private readonly freed: number[] = [];
  private readonly lent: Frame[] = [];

  private repost(): void {
    for (let i = this.lent.length - 1; i >= 0; i--)
      if (this.lent[i]!.holders === 0) this.freed.push(this.lent.splice(i, 1)[0]!.tag);
    for (const slot of this.freed.splice(0)) this.post(slot);
  }

  private post(slot: number): void {
    const { view, base } = this;
    const at = view.getUint32(base + RX.posted);
    view.setUint32(base + RX.free + (at % RX.slots) * 4, slot);
    view.setUint32(base + RX.posted, at + 1);
  }
}

export const front = defineFrontendAccelerator({
  name: 'memory-front',
  version: '1.2.3',
  contract: CONTRACT_VERSION,
  capabilities: {
    receiveFilters: 4,
    checksumIpv4: true,
    checksumIpv6: true,
    segmentationTcpv4: true,
    segmentationTcpv6: true,
    ipv6: true,
  },
  newDevice: async (services) => {
    const releases: (() => void)[] = [];
    try {
      const shared = services.share(TX.pages + RX.pages, 'write');
      releases.push(() => shared.release());
      for (let first = 0; first < shared.pages; first += 24) {
        const refs = shared.refs.slice(first, first + 24);
        const reply = await services.mailbox.request(Message.pages, encodePages(first, refs));
        if (!reply.ok) throw new Error('the other half refused the pages');
      }
      const reply = await services.mailbox.request(Message.open, new Uint8Array(0));
      if (!reply.ok) throw new Error('the other half refused to open');
      const { port, addresses } = decodeOpened(reply.payload);
      const end = services.events.bind(port, () => services.schedulePoll());
      releases.push(() => end.close());
      return new MemoryDevice(
        services,
        shared.address,
        () => end.notify(),
        () => end.unmask(),
        releases,
        addresses,
      );
    } catch (error) {
      for (const release of releases.reverse()) release();
      throw error;
    }
  },
});
