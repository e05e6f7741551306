/**
 * The driver domain's own driver of one NIC port: what joins the wire to the bridge, and what backend plugins hold.
 *
 * It has a VI like everybody else, with the filters for all that nobody else asked for. Frames to the wire come in
 * by `deliver` (it is a {@link FrameSink}); frames from the wire are shown to the plugins that look, joined where TCP
 * allows, and go to `upstream`. Owned by the driver domain; `close` gives everything back.
 */
import { PAGE_BYTES, holdChain, releaseChain } from '@netaccel/core-hooks';
import type { Frame, FrameSink, NicPortHold, Registers } from '@netaccel/core-hooks';
import { EventType, ReceiveMerger, Transmit } from '@netaccel/nic-vi';
import type { FrameVi, FrameViHandler, NicControl } from '@netaccel/nic-vi';
import type { Domain, EventChannel, Task } from '@netaccel/xen';
import { NIC_PORT_SIZES, PortVi } from './port-vi.js';
import type { NicPortSizes } from './port-vi.js';

export type { NicPortSizes } from './port-vi.js';

/** Frames that wait for descriptors at most: the port's queue, as an interface has one. */
const BACKLOG = 1024;
/** Pause before another try to open the port again after a reset. */
const REOPEN_MS = 100;

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
  /** How big it is, where it is not the usual. */
  readonly sizes?: Partial<NicPortSizes>;
}

/** Counters of a port's driver. */
export interface NicPortStatistics {
  /** Frames dropped because the queue to the wire was full. */
  txBacklogFull: number;
  /** Frames dropped because the NIC cannot take their shape. */
  txUnsendable: number;
  /** Frames that the NIC had when it was reset. */
  txReset: number;
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
  readonly statistics: NicPortStatistics = {
    txBacklogFull: 0,
    txUnsendable: 0,
    txReset: 0,
    txBacklogMax: 0,
  };
  /** Received frames that somebody still had when the port was closed. */
  framesLeft = 0;
  private readonly domain: Domain;
  private own: PortVi;
  /** Of the VI, for the frame path. */
  private frames: FrameVi;
  /** VIs that a reset ended, while somebody still holds frames that lie in their buffers. */
  private retired: PortVi[] = [];
  private resetSeen = false;
  private dead = false;
  private cancelReopen: () => void = () => undefined;
  private readonly merger: ReceiveMerger | null;
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
  private generation: number;
  private up: boolean;
  private closed = false;

  /** Takes the port: its VI is live and everything that nobody else asked for arrives. */
  constructor(private readonly options: NicPortOptions) {
    const { domain, control } = options;
    this.domain = domain;
    this.name = options.name;
    this.device = control;
    const interrupt = domain.events.allocateUnbound(domain.id, () => {
      this.task.raise();
    });
    const line = domain.events.bindInterdomain(domain.id, interrupt.port, () => undefined);
    this.channels = [line, interrupt];
    this.task = domain.loop.task((budget) => this.run(budget));
    try {
      this.own = this.open();
    } catch (error) {
      this.task.cancel(); // the new channel's first event is on its way already
      for (const channel of this.channels) channel.close();
      throw error;
    }
    this.frames = this.own.frames;
    this.merger = options.merging
      ? new ReceiveMerger(domain.memory, {
          deliver: (f) => this.upstream.deliver(f),
          flush: () => this.upstream.flush(),
        })
      : null;
    this.up = control.linkUp;
    this.generation = control.generation;
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

  /** Shows plugins a frame as if it left for the wire, which it does not: they learn that its source is here. */
  pretend(frame: Frame): void {
    for (const look of this.transmitters) look(frame);
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
    if (this.closed) return Promise.resolve();
    return new Promise((resolve) => {
      const value = this.nextMarker++;
      this.markers.set(value, resolve);
      this.putMarker(value);
    });
  }

  /** Its state, for `explain`. */
  describe(): Readonly<Record<string, unknown>> {
    const { device, own } = this;
    const live = !this.closed && !this.dead && !this.isReset();
    return {
      name: this.name,
      linkUp: this.up,
      viId: live ? own.id : null,
      driver: { ...this.statistics, ...this.frames.statistics },
      port: device.portStatistics(),
      vi: live ? device.viStatistics(own.id) : {},
    };
  }

  /** Gives the port back: its VI ends, frames under way are given up. Idempotent. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.task.cancel();
    this.cancelReopen();
    if (!this.dead) {
      if (!this.isReset()) {
        this.device.flushVi(this.own.id);
        this.device.freeVi(this.own.id);
      }
      this.frames.abandon();
    }
    this.merger?.flush();
    for (; this.backlogHead !== this.backlogTail; this.backlogHead++)
      releaseChain(this.backlog[this.backlogHead % BACKLOG]!);
    for (const channel of this.channels) channel.close();
    for (const vi of [...this.retired, this.own]) {
      this.framesLeft += vi.frames.held;
      vi.free();
    }
    this.passMarkers();
  }

  private run(budget: number): boolean {
    if (this.dead) {
      if (this.resetSeen) this.reopen();
      if (this.dead) return false;
    }
    const work = this.frames.poll(budget);
    this.merger?.flush();
    this.upstream.flush();
    if (this.resetSeen) this.reopen();
    if (this.retired.length > 0) this.freeRetired();
    this.drainBacklog();
    if (work >= budget) return true;
    for (let i = 0; i < this.channels.length; i++) this.channels[i]!.unmask();
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
        if (this.resetSeen) this.statistics.txReset++;
        else this.statistics.txUnsendable++;
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
    } else if (type === EventType.reset) {
      this.resetSeen = true;
      for (const tell of this.resets) tell();
    }
  }

  private open(): PortVi {
    const { options } = this;
    const { domain, control, sizes } = options;
    return new PortVi({
      memory: domain.memory,
      pages: domain.pages,
      control,
      registers: (page) => options.registers(page),
      vector: domain.events.vector(this.channels[0]!),
      sizes: { ...NIC_PORT_SIZES, ...sizes },
      handler: this.handler(),
    });
  }

  /** The NIC was reset, and its event says so or has not been polled yet. */
  private isReset(): boolean {
    return this.device.generation !== this.generation;
  }

  /** The NIC was reset: the VI is gone with all that it had to send; a new one takes its place. */
  private reopen(): void {
    if (!this.dead) this.frames.abandon();
    this.resetSeen = false;
    this.passMarkers();
    try {
      const own = this.open();
      this.retired.push(this.own);
      this.own = own;
    } catch (error) {
      this.dead = true;
      this.domain.log(
        'error',
        `${this.name}: no VI after a reset of the NIC, trying again: ${String(error)}`,
      );
      this.cancelReopen = this.domain.loop.after(REOPEN_MS, () => {
        this.resetSeen = true;
        this.task.raise();
      });
      return;
    }
    this.dead = false;
    this.frames = this.own.frames;
    this.generation = this.device.generation;
    this.up = this.device.linkUp;
  }

  /** Buffers of an ended VI are free when the last of their frames is. */
  private freeRetired(): void {
    this.retired = this.retired.filter((vi) => {
      if (vi.frames.held > 0) return true;
      vi.free();
      return false;
    });
  }

  /** Nothing of what markers wait for is under way any more. */
  private passMarkers(): void {
    for (const passed of this.markers.values()) passed();
    this.markers.clear();
  }

  private send(frame: Frame): boolean {
    let verdict = this.frames.transmit(frame);
    if (verdict === Transmit.notRegistered) {
      if (this.isReset()) return false; // it waits for the new VI
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
      this.own.register(first, f.address + f.length - first);
    }
  }

  private putMarker(value: number): void {
    // After a reset the markers pass when its event is polled.
    if (this.closed || this.isReset() || this.device.putEvent(this.own.id, value)) {
      this.task.raise();
      return;
    }
    this.domain.loop.after(1, () => {
      if (this.markers.has(value)) this.putMarker(value);
    });
  }
}
