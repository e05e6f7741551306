/**
 * Captures of a running lab: turns a wire's capture and a bridge's watch on while somebody captures there, and
 * hands each frame to whoever does. Lives in the main thread; frames of bridges come from their domain's thread.
 */
import type { CaptureVisitor, Nic } from '@netaccel/nic-vi/model';
import type { LabDescription } from '../lab/index.js';
import type { WorkerLab } from '../machine/worker-lab.js';
import { OUTGOING } from '../ports/bridge-watch.js';
import type { FrameBatch, WatchedPorts } from '../ports/bridge-watch.js';

/** A frame that was captured. */
export interface Captured {
  /** Wire: name of the sending NIC port, `alpha.eth0`. Bridge: name of the port on it. */
  readonly place: string;
  /** Bridge: it went out by that port. Always false on a wire. */
  readonly outgoing: boolean;
  /** When, in microseconds since 1970. */
  readonly timeUs: number;
  /** Its bytes; valid during the call. */
  readonly bytes: Uint8Array;
  /** Wire: the VI that sent it. */
  readonly sender: number | null;
  /** Wire, for who asks: the VI at its other end that filters lead it to, as they are when the capture is read. */
  readonly receiver: number | null;
}

/** Whoever captures. */
export interface Collector {
  /** Whether it wants to know which VI a wire's frames are for. */
  readonly wantsReceiver: boolean;
  /** A frame. */
  frame(frame: Captured): void;
  /** Frames that went by uncaptured. */
  lost(frames: number): void;
}

const DRAIN_MS = 2;
const DRAIN_FRAMES = 4096;

/** Counter of frames that a wire's reader was too slow for. */
const LOST = 'captureLost';

/** The captures of one lab. */
export class CaptureDesk {
  private readonly wires = new Map<number, WireCapture>();
  private readonly bridges = new Map<string, BridgeCapture>();

  constructor(
    private readonly description: LabDescription,
    private readonly lab: WorkerLab,
  ) {}

  /** Captures a wire. @returns ends it, once what is under way has been handed on. */
  joinWire(number: number, collector: Collector): () => Promise<void> {
    let wire = this.wires.get(number);
    if (wire === undefined)
      this.wires.set(number, (wire = new WireCapture(this.lab, this.description, number)));
    return wire.join(collector);
  }

  /** Captures a bridge. @returns ends it likewise. */
  async joinBridge(host: string, ports: WatchedPorts, collector: Collector): Promise<() => Promise<void>> {
    let bridge = this.bridges.get(host);
    if (bridge === undefined) this.bridges.set(host, (bridge = new BridgeCapture(this.lab, host)));
    return bridge.join(ports, collector);
  }

  /** Ends the timers; domains end their watches by themselves. */
  close(): void {
    for (const wire of this.wires.values()) wire.close();
  }
}

class WireCapture {
  private readonly collectors = new Set<Collector>();
  private timer: NodeJS.Timeout | undefined;
  private lostBefore = 0;
  private readonly places: readonly [string, string];
  /** The NIC port at each end. */
  private readonly ports: readonly { readonly nic: Nic; readonly port: number }[];

  constructor(
    private readonly lab: WorkerLab,
    description: LabDescription,
    private readonly number: number,
  ) {
    const { ends } = description.wires[number]!;
    this.ports = ends.map(({ host, port }) => ({
      nic: lab.hardware.nicOf(host)!,
      port: description.hosts.find(({ name }) => name === host)!.nic.ports.indexOf(port),
    }));
    this.places = [`${ends[0].host}.${ends[0].port}`, `${ends[1].host}.${ends[1].port}`];
  }

  join(collector: Collector): () => Promise<void> {
    const { wire } = this;
    if (this.collectors.size === 0) {
      wire.drainCapture(() => undefined, Infinity); // what an earlier capture left
      this.lostBefore = this.lostNow();
      wire.set({ capture: true });
      this.timer = setInterval(() => {
        this.drain();
      }, DRAIN_MS);
    }
    this.collectors.add(collector);
    return () => {
      this.drain();
      this.collectors.delete(collector);
      if (this.collectors.size === 0) this.close();
      return Promise.resolve();
    };
  }

  close(): void {
    if (this.timer === undefined) return;
    clearInterval(this.timer);
    this.timer = undefined;
    this.wire.set({ capture: false });
  }

  private get wire() {
    return this.lab.hardware.wires[this.number]!;
  }

  private lostNow(): number {
    return (this.wire.statistics(0)[LOST] ?? 0) + (this.wire.statistics(1)[LOST] ?? 0);
  }

  private drain(): void {
    const { memory } = this.lab;
    const asked = [...this.collectors].some(({ wantsReceiver }) => wantsReceiver);
    const visit: CaptureVisitor = (direction, timeUs, address, length, sender) => {
      const bytes = memory.bytes.subarray(address, address + length);
      const { nic, port } = this.ports[1 - direction]!;
      const receiver = asked ? nic.receiverOf(port, address, length) : null;
      const frame = { place: this.places[direction], outgoing: false, timeUs, bytes, sender, receiver };
      for (const collector of this.collectors) collector.frame(frame);
    };
    this.wire.drainCapture(visit, DRAIN_FRAMES);
    const lost = this.lostNow();
    if (lost > this.lostBefore)
      for (const collector of this.collectors) collector.lost(lost - this.lostBefore);
    this.lostBefore = lost;
  }
}

class BridgeCapture {
  private readonly collectors = new Map<Collector, WatchedPorts>();
  /** Changes of the watch, one after the other. */
  private turn: Promise<void> = Promise.resolve();

  constructor(
    private readonly lab: WorkerLab,
    private readonly host: string,
  ) {}

  async join(ports: WatchedPorts, collector: Collector): Promise<() => Promise<void>> {
    this.driver.onFrames = (batch) => {
      this.spread(batch);
    };
    this.collectors.set(collector, ports);
    await this.update();
    return async () => {
      // The last batch comes before the answer: both go through the same port.
      const rest = new Map(this.collectors);
      rest.delete(collector);
      await this.update(rest);
      this.collectors.delete(collector);
    };
  }

  private get driver() {
    return this.lab.hosts.get(this.host)!.driver;
  }

  private update(collectors: ReadonlyMap<Collector, WatchedPorts> = this.collectors): Promise<void> {
    const all = [...collectors.values()];
    const ports: WatchedPorts | null =
      all.length === 0
        ? null
        : {
            into: all.some(({ into }) => into === null)
              ? null
              : [...new Set(all.flatMap(({ into }) => into ?? []))],
            outOf: [...new Set(all.flatMap(({ outOf }) => outOf))],
          };
    const done = this.turn.then(() => this.driver.watch(ports));
    this.turn = done.catch(() => undefined);
    return done;
  }

  private spread(batch: FrameBatch): void {
    for (let i = 0, at = 0; i < batch.count; at += batch.lengths[i]!, i++) {
      const place = batch.ports[batch.places[i]! & ~OUTGOING]!;
      const outgoing = (batch.places[i]! & OUTGOING) !== 0;
      const bytes = batch.bytes.subarray(at, at + batch.lengths[i]!);
      const frame = { place, outgoing, timeUs: batch.times[i]!, bytes, sender: null, receiver: null };
      for (const [collector, { into, outOf }] of this.collectors)
        if (outgoing ? outOf.includes(place) : into === null || into.includes(place)) collector.frame(frame);
    }
    if (batch.lost > 0) for (const collector of this.collectors.keys()) collector.lost(batch.lost);
  }
}
