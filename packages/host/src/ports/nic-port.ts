/**
 * The driver domain's own driver of one NIC port: what joins the wire to the bridge, and what backend plugins hold.
 *
 * It has a VI like everybody else, with the filters for all that nobody else asked for. Frames to the wire come in
 * by `deliver` (it is a {@link FrameSink}); frames from the wire are shown to the plugins that look, joined where TCP
 * allows, and go to `upstream`. Owned by the driver domain; `close` gives everything back.
 */
import { PAGE_BYTES, holdChain, releaseChain } from '@netaccel/core-hooks';
import type { Frame, FrameSink, NicPortHold, Registers } from '@netaccel/core-hooks';
import { BusMap, EventType, FrameVi, ReceiveMerger, Transmit, VirtualInterface } from '@netaccel/nic-vi';
import type { FrameViHandler, NicControl, ViId } from '@netaccel/nic-vi';
import type { Domain, EventChannel, Task } from '@netaccel/xen';

const TX_CAPACITY = 512;
const RX_CAPACITY = 512;
const EVENT_CAPACITY = 1024;
const RX_BUFFERS = 2048;
const RX_BUFFER_BYTES = 2048;
/** Frames that wait for descriptors at most: the port's queue, as an interface has one. */
const BACKLOG = 1024;
/** Protection domain of the driver domain's own VIs. */
const OWN_MEMORY = 1;

/** What a port's driver is made of. */
export interface NicPortOptions {
  /** The driver domain. */
  readonly domain: Domain;
  /** Its name: `eth0`. */
  readonly name: string;
  /** The NIC's control interface for this port. */
  readonly control: NicControl;
  /** A register page of this domain, as the NIC sees writes to it. */
  registers(page: number): Registers;
  /** Whether received TCP segments are joined. */
  readonly merging: boolean;
}

/** Counters of a port's driver. */
export interface NicPortStatistics {
  /** Frames dropped because the queue to the wire was full. */
  txBacklogFull: number;
  /** Frames dropped because the NIC cannot take their shape. */
  txUnsendable: number;
  /** Most frames that ever waited for descriptors. */
  txBacklogMax: number;
}

/** One NIC port of a driver domain. */
export class NicPort implements FrameSink, NicPortHold {
  readonly name: string;
  readonly device: NicControl;
  /** Where received frames go. */
  upstream: FrameSink = { deliver: () => undefined, flush: () => undefined };
  /** Counters. */
  readonly statistics: NicPortStatistics = { txBacklogFull: 0, txUnsendable: 0, txBacklogMax: 0 };
  private readonly domain: Domain;
  private readonly buses: BusMap;
  private readonly viId: ViId;
  private readonly frames: FrameVi;
  private readonly merger: ReceiveMerger | null;
  private readonly pages: number[] = [];
  private readonly channels: EventChannel[];
  private readonly task: Task;
  private readonly backlog: (Frame | null)[] = new Array<Frame | null>(BACKLOG).fill(null);
  private backlogHead = 0;
  private backlogTail = 0;
  private readonly receivers = new Set<(frame: Frame) => void>();
  private readonly transmitters = new Set<(frame: Frame) => void>();
  private readonly links = new Set<(up: boolean) => void>();
  private readonly resets = new Set<() => void>();
  private readonly markers = new Map<number, () => void>();
  private nextMarker = 1;
  private up: boolean;
  private closed = false;

  /** Takes the port: its VI is live and everything that nobody else asked for arrives. */
  constructor(options: NicPortOptions) {
    const { domain, control } = options;
    this.domain = domain;
    this.name = options.name;
    this.device = control;
    this.buses = new BusMap(domain.memory);
    const ring = (bytes: number): number => this.allocate(Math.ceil(bytes / PAGE_BYTES));
    const rings = {
      transmitRing: ring(TX_CAPACITY * 16),
      transmitCapacity: TX_CAPACITY,
      receiveRing: ring(RX_CAPACITY * 8),
      receiveCapacity: RX_CAPACITY,
      eventQueue: ring(EVENT_CAPACITY * 16),
      eventCapacity: EVENT_CAPACITY,
    };
    const registerPage = this.allocate(1);
    const interrupt = domain.events.allocateUnbound(domain.id, () => {
      this.task.raise();
    });
    const line = domain.events.bindInterdomain(domain.id, interrupt.port, () => undefined);
    this.channels = [line, interrupt];
    this.task = domain.loop.task((budget) => this.run(budget));
    this.viId = control.allocateVi({
      owner: OWN_MEMORY,
      transmitPages: pagesOf(rings.transmitRing, TX_CAPACITY * 16),
      transmitCapacity: TX_CAPACITY,
      receivePages: pagesOf(rings.receiveRing, RX_CAPACITY * 8),
      receiveCapacity: RX_CAPACITY,
      eventPages: pagesOf(rings.eventQueue, EVENT_CAPACITY * 16),
      eventCapacity: EVENT_CAPACITY,
      registerPage,
      vector: domain.events.vector(line),
    });
    const bufferBytes = RX_BUFFERS * RX_BUFFER_BYTES;
    const buffers = this.allocate(bufferBytes / PAGE_BYTES);
    this.register(buffers, bufferBytes);
    const vi = new VirtualInterface(domain.memory, options.registers(registerPage), rings);
    this.frames = new FrameVi(
      vi,
      this.buses,
      { address: buffers, count: RX_BUFFERS, bytes: RX_BUFFER_BYTES },
      this.handler(),
    );
    this.merger = options.merging
      ? new ReceiveMerger(domain.memory, {
          deliver: (f) => this.upstream.deliver(f),
          flush: () => this.upstream.flush(),
        })
      : null;
    this.frames.replenish();
    control.addFilter(this.viId, { kind: 'unmatchedUnicast' });
    control.addFilter(this.viId, { kind: 'unmatchedMulticast' });
    this.up = control.linkUp;
    this.task.raise();
  }

  /** Sends a frame to the wire. */
  deliver(frame: Frame): void {
    for (const look of this.transmitters) look(frame);
    if (this.backlogHead !== this.backlogTail || !this.send(frame)) this.queue(frame);
  }

  /** Rings the doorbell for what was delivered, and lets completions be taken. */
  flush(): void {
    this.frames.push();
    if (!this.closed) this.task.raise();
  }

  /** Shows `handler` each frame from the wire, before the bridge has it; ends with the function returned. */
  onReceive(handler: (frame: Frame) => void): () => void {
    this.receivers.add(handler);
    return () => this.receivers.delete(handler);
  }

  /** Shows `handler` each frame that the driver domain sends to the wire; ends with the function returned. */
  onTransmit(handler: (frame: Frame) => void): () => void {
    this.transmitters.add(handler);
    return () => this.transmitters.delete(handler);
  }

  /** Calls `handler` with the present link state, and on each change; ends with the function returned. */
  onLink(handler: (up: boolean) => void): () => void {
    this.links.add(handler);
    handler(this.up);
    return () => this.links.delete(handler);
  }

  /** Calls `handler` when the NIC was reset; ends with the function returned. */
  onReset(handler: () => void): () => void {
    this.resets.add(handler);
    return () => this.resets.delete(handler);
  }

  /** Resolves when every frame that the NIC had given to the driver domain before this call has been handled. */
  received(): Promise<void> {
    return new Promise((resolve) => {
      const value = this.nextMarker++;
      this.markers.set(value, resolve);
      this.putMarker(value);
    });
  }

  /** Its state, for `explain`. */
  describe(): Readonly<Record<string, unknown>> {
    return {
      name: this.name,
      linkUp: this.up,
      viId: this.viId,
      driver: { ...this.statistics, ...this.frames.statistics },
      port: this.device.portStatistics(),
      vi: this.device.viStatistics(this.viId),
    };
  }

  /** Gives the port back: its VI ends, frames under way are given up. Idempotent. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.task.cancel();
    this.device.flushVi(this.viId);
    this.device.freeVi(this.viId);
    this.frames.abandon();
    this.merger?.flush();
    for (; this.backlogHead !== this.backlogTail; this.backlogHead++)
      releaseChain(this.backlog[this.backlogHead % BACKLOG]!);
    for (const channel of this.channels) channel.close();
    for (const address of this.pages) this.domain.pages.free(address);
    for (const passed of this.markers.values()) passed();
    this.markers.clear();
  }

  private run(budget: number): boolean {
    const work = this.frames.poll(budget);
    this.merger?.flush();
    this.upstream.flush();
    this.drainBacklog();
    if (work >= budget) return true;
    for (const channel of this.channels) channel.unmask();
    return this.frames.vi.prime();
  }

  /** What the VI tells this driver. */
  private handler(): FrameViHandler {
    return {
      received: (frame) => {
        this.arrived(frame);
      },
      // Whoever held the frame has it back: nothing else to do.
      completed: () => undefined,
      failed: () => {
        this.statistics.txUnsendable++;
      },
      event: (type, detail, reason) => {
        this.event(type, detail, reason);
      },
    };
  }

  /** A frame from the wire: plugins look, then it goes up. */
  private arrived(frame: Frame): void {
    for (const look of this.receivers) look(frame);
    if (this.merger !== null) this.merger.push(frame);
    else this.upstream.deliver(frame);
  }

  /** Markers, link changes and resets. */
  private event(type: number, detail: number, reason: number): void {
    if (type === EventType.software) {
      const passed = this.markers.get(detail);
      this.markers.delete(detail);
      passed?.();
    } else if (type === EventType.link) {
      this.up = reason === 1;
      for (const tell of this.links) tell(this.up);
    } else if (type === EventType.reset) for (const tell of this.resets) tell();
  }

  private send(frame: Frame): boolean {
    let verdict = this.frames.transmit(frame);
    if (verdict === Transmit.notRegistered) {
      this.registerFrame(frame);
      verdict = this.frames.transmit(frame);
    }
    if (verdict === Transmit.full) return false;
    if (verdict !== Transmit.taken) this.statistics.txUnsendable++;
    return true;
  }

  private queue(frame: Frame): void {
    const waiting = this.backlogTail - this.backlogHead;
    if (waiting === BACKLOG) {
      this.statistics.txBacklogFull++;
      return;
    }
    holdChain(frame);
    this.backlog[this.backlogTail++ % BACKLOG] = frame;
    if (waiting + 1 > this.statistics.txBacklogMax) this.statistics.txBacklogMax = waiting + 1;
  }

  private drainBacklog(): void {
    if (this.backlogHead === this.backlogTail) return;
    while (this.backlogHead !== this.backlogTail) {
      const slot = this.backlogHead % BACKLOG;
      const frame = this.backlog[slot]!;
      if (!this.send(frame)) break;
      this.backlog[slot] = null;
      this.backlogHead++;
      releaseChain(frame);
    }
    this.frames.push();
  }

  /** The driver domain sends from its own memory only; what the NIC has not met yet, it is told of, once. */
  private registerFrame(frame: Frame): void {
    for (let f: Frame | null = frame; f !== null; f = f.next) {
      const first = f.address - (f.address % PAGE_BYTES);
      this.register(first, f.address + f.length - first);
    }
  }

  private register(address: number, bytes: number): void {
    const pages = pagesOf(address, bytes);
    this.buses.add(address, pages.length, this.device.registerBuffers(this.viId, pages));
  }

  private allocate(pages: number): number {
    const address = this.domain.pages.allocate(pages);
    this.pages.push(address);
    return address;
  }

  private putMarker(value: number): void {
    if (this.closed || this.device.putEvent(this.viId, value)) {
      this.task.raise();
      return;
    }
    this.domain.loop.after(1, () => {
      if (this.markers.has(value)) this.putMarker(value);
    });
  }
}

function pagesOf(address: number, bytes: number): number[] {
  return Array.from({ length: Math.ceil(bytes / PAGE_BYTES) }, (_, i) => address + i * PAGE_BYTES);
}
