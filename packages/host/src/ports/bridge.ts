/**
 * A learning bridge: joins the ports of a driver domain (vifs, NIC ports, its own interface).
 *
 * `attach` gives a port and takes where its outgoing frames go; a frame handed to the port's `input` is
 * learned from and delivered on. A frame is never copied here: receivers that want it longer hold it.
 * The driver domain owns the bridge; nothing here is reachable by a guest except through its frames.
 */
import type { Clock, Frame, FrameSink, Memory } from '@netaccel/core-hooks';
import { MacTable, UNKNOWN_PORT, macHigh, macLow } from '@netaccel/nic-vi';

/** Bits of a MAC address's first byte. */
const GROUP_BIT = 1;
const MAX_PORTS = 256;
/** Bytes of destination and source address: what must be there to bridge a frame. */
const ADDRESSES_BYTES = 12;

/** Counters of one bridge port. */
export interface BridgePortStatistics {
  /** Frames that came in by this port. */
  inFrames: number;
  /** Frames that went out by it. */
  outFrames: number;
  /** Frames that came in and were flooded: group address or unknown destination. */
  flooded: number;
  /** Frames that came in for a destination behind this same port, and went nowhere. */
  filtered: number;
  /** Frames too short to have addresses. */
  runt: number;
  /** Flooded frames that no other port was there for. */
  nowhere: number;
}

/** One port: frames that come in by it go to `input`. */
export interface BridgePort {
  /** Its name, for people. */
  readonly name: string;
  /** Frames from this port into the bridge. */
  readonly input: FrameSink;
  /** Counters. */
  readonly statistics: Readonly<BridgePortStatistics>;
  /** Takes the port out and forgets what was learned on it. Idempotent. */
  detach(): void;
}

/**
 * Watches frames between ports; a capture is one. It reads the frame within the call.
 * @param from name of the port that the frame came in by.
 */
export type BridgeObserver = (frame: Frame, from: string) => void;

/** The bridge. */
export class Bridge {
  private readonly ports: (Port | undefined)[] = [];
  private readonly table: MacTable;
  private observer: BridgeObserver | undefined;
  /** Addresses that are led to one port whatever is learned, with the port's number. */
  private readonly pins: { high: number; low: number; port: number }[] = [];

  /**
   * @param memory what frames' addresses point into.
   * @param clock for ageing.
   * @param ageingMs how long an address is remembered.
   */
  constructor(
    private readonly memory: Memory,
    private readonly clock: Clock,
    ageingMs = 300_000,
  ) {
    this.table = new MacTable(1024, ageingMs);
  }

  /**
   * Adds a port.
   * @param name for people.
   * @param output where frames go that leave by it.
   */
  attach(name: string, output: FrameSink): BridgePort {
    let number = this.ports.indexOf(undefined);
    if (number < 0) number = this.ports.length;
    if (number >= MAX_PORTS)
      throw new RangeError(`a bridge has at most ${MAX_PORTS} ports; ${name} is one more`);
    const port = new Port(name, number, output, this);
    this.ports[number] = port;
    return port;
  }

  /** Shows every frame to `observer`; `undefined` ends it. */
  observe(observer: BridgeObserver | undefined): void {
    this.observer = observer;
  }

  /** Shows every frame that leaves by the port of that name to `observer` first; `undefined` ends it. */
  observeOutput(name: string, observer: ((frame: Frame) => void) | undefined): void {
    for (const port of this.ports) if (port?.name === name) port.observe(observer);
  }

  /** Leads frames for an address (in the two words of a `MacTable`) to one port, whatever is learned. */
  pin(high: number, low: number, to: BridgePort): void {
    this.unpin(high, low);
    const port = this.ports.findIndex((candidate) => candidate === to);
    this.pins.push({ high, low, port });
    this.moved();
  }

  /** Ends that. */
  unpin(high: number, low: number): void {
    const at = this.pins.findIndex((pin) => pin.high === high && pin.low === low);
    if (at < 0) return;
    this.pins.splice(at, 1);
    this.moved();
  }

  /** @internal The port that an address is behind, or {@link UNKNOWN_PORT}. */
  find(high: number, low: number): number {
    for (let i = 0; i < this.pins.length; i++) {
      const pin = this.pins[i]!;
      if (pin.high === high && pin.low === low) return pin.port;
    }
    return this.table.find(high, low, this.clock.now());
  }

  /** Ports with counters, and the addresses learned. */
  describe(): {
    ports: ({ name: string } & BridgePortStatistics)[];
    addresses: { mac: string; port: string; ageMs: number }[];
  } {
    return {
      ports: this.ports.flatMap((p) => (p === undefined ? [] : [{ name: p.name, ...p.statistics }])),
      addresses: this.table
        .entries(this.clock.now())
        .map((e) => ({ mac: e.mac, port: this.ports[e.port]?.name ?? '?', ageMs: e.ageMs })),
    };
  }

  /** @internal One frame that came in by `from`: learn, look up, deliver. */
  forward(from: Port, frame: Frame): void {
    const bytes = this.memory.bytes;
    const at = frame.address;
    const statistics = from.statistics;
    statistics.inFrames++;
    if (frame.length < ADDRESSES_BYTES) {
      statistics.runt++;
      return;
    }
    if (this.observer !== undefined) this.observer(frame, from.name);
    from.learn(macHigh(bytes, at + 6), macLow(bytes, at + 6), this.table, this.clock);
    if ((bytes[at]! & GROUP_BIT) === 0) {
      const to = from.lookUp(macHigh(bytes, at), macLow(bytes, at));
      if (to === from.number) {
        statistics.filtered++;
        return;
      }
      const port = to === UNKNOWN_PORT ? undefined : this.ports[to];
      if (port !== undefined) {
        port.send(frame);
        return;
      }
    }
    statistics.flooded++;
    let sent = 0;
    for (let i = 0; i < this.ports.length; i++) {
      const port = this.ports[i];
      if (port === undefined || port === from) continue;
      port.send(frame);
      sent++;
    }
    if (sent === 0) statistics.nowhere++;
  }

  /** @internal The batch from some port is over: every port that got a frame publishes. */
  flushAll(): void {
    for (let i = 0; i < this.ports.length; i++) this.ports[i]?.flushOutput();
  }

  /** @internal An address appeared on another port than before: what ports remember of it is stale. */
  moved(): void {
    for (const port of this.ports) port?.forgetLookUp();
  }

  /** @internal Takes a port out. */
  remove(port: Port): void {
    if (this.ports[port.number] !== port) return;
    this.ports[port.number] = undefined;
    this.table.forgetPort(port.number);
    for (const other of this.ports) other?.forgetLookUp();
  }
}

/** How long a port's own last look-ups are believed before the table is asked again, so that ageing holds. */
const REFRESH_FRAMES = 4096;

class Port implements BridgePort, FrameSink {
  readonly statistics: BridgePortStatistics = {
    inFrames: 0,
    outFrames: 0,
    flooded: 0,
    filtered: 0,
    runt: 0,
    nowhere: 0,
  };
  readonly input: FrameSink = this;
  /** The receiver, or the receiver behind an observer. */
  private output: FrameSink;
  private pending = false;
  // The last source learned and the last destination found: most frames repeat them.
  private sourceHigh = -1;
  private sourceLow = 0;
  private sourceLeft = 0;
  private destinationHigh = -1;
  private destinationLow = 0;
  private destinationPort = UNKNOWN_PORT;
  private destinationLeft = 0;

  constructor(
    readonly name: string,
    readonly number: number,
    private readonly receiver: FrameSink,
    private readonly bridge: Bridge,
  ) {
    this.output = receiver;
  }

  observe(observer: ((frame: Frame) => void) | undefined): void {
    const { receiver } = this;
    this.output =
      observer === undefined
        ? receiver
        : {
            deliver: (frame) => {
              observer(frame);
              receiver.deliver(frame);
            },
            flush: () => {
              receiver.flush();
            },
          };
  }

  deliver(frame: Frame): void {
    this.bridge.forward(this, frame);
  }

  flush(): void {
    this.bridge.flushAll();
  }

  send(frame: Frame): void {
    this.statistics.outFrames++;
    this.pending = true;
    this.output.deliver(frame);
  }

  flushOutput(): void {
    if (!this.pending) return;
    this.pending = false;
    this.output.flush();
  }

  learn(high: number, low: number, table: MacTable, clock: Clock): void {
    if (high === this.sourceHigh && low === this.sourceLow && --this.sourceLeft > 0) return;
    this.sourceHigh = high;
    this.sourceLow = low;
    this.sourceLeft = REFRESH_FRAMES;
    if ((high & GROUP_BIT) !== 0) return; // a group address is no source
    const now = clock.now();
    if (table.find(high, low, now) !== this.number) {
      this.bridge.moved();
      this.sourceHigh = high;
    }
    table.learn(high, low, this.number, now);
  }

  lookUp(high: number, low: number): number {
    if (high === this.destinationHigh && low === this.destinationLow && --this.destinationLeft > 0)
      return this.destinationPort;
    const port = this.bridge.find(high, low);
    this.destinationHigh = port === UNKNOWN_PORT ? -1 : high;
    this.destinationLow = low;
    this.destinationPort = port;
    this.destinationLeft = REFRESH_FRAMES;
    return port;
  }

  forgetLookUp(): void {
    this.destinationHigh = -1;
    this.sourceHigh = -1;
  }

  detach(): void {
    this.bridge.remove(this);
  }
}
