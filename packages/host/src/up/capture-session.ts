/**
 * One capture: what a client asked for, as a stream of pcapng. Frames carry the interface and direction where they
 * were seen, and a comment that says which path they took.
 */
import { CaptureDirection, CaptureWriter } from '../capture/index.js';
import type { StreamOut } from '../control/socket.js';
import type { LabDescription } from '../lab/index.js';
import { VERSION } from '../version.js';
import type { Captured, CaptureDesk, Collector } from './capture-desk.js';
import { UnknownNameError, fullName } from './names.js';
import type { Named } from './names.js';
import type { PlacedHost } from './placement.js';
import { wiredTo } from './report.js';

/** What is captured. */
export interface CaptureRequest {
  readonly target: Named;
  /** Frames at most; 0 for no limit. */
  readonly count: number;
  /** Most bytes kept of a frame; 0 for all. */
  readonly snapBytes: number;
}

/** How a capture goes: its notes, and its result. */
export interface CaptureProgress {
  /** Frames captured. */
  readonly frames: number;
  /** Frames that went by uncaptured: the reader was too slow. */
  readonly lost: number;
}

/** Bytes that a slow client may leave waiting before frames are left out. */
const MOST_WAITING_BYTES = 64 * 1024 * 1024;
const NOTE_MS = 250;
const MAC_BYTES = 6;

/** What a path is called in comments. */
type Path = 'fast' | 'slow' | 'native';

/** One capture. */
export class CaptureSession implements Collector {
  private readonly originMs = Date.now();
  private readonly writer: CaptureWriter;
  readonly wantsReceiver: boolean;
  private readonly interfaces = new Map<string, number>();
  private readonly ownMacs: ReadonlySet<string>;
  private frames = 0;
  private missed = 0;
  private finish: () => void = () => undefined;
  /** What is captured: a guest is where it is now. */
  private target: Named;
  /** Ends what {@link join} began; each change of place behind the one before. */
  private leave: Promise<() => Promise<void>> = Promise.resolve(() => Promise.resolve());

  /**
   * @param lab where.
   * @param driverVis VIs of each host's driver domain: what they send came by the slow path.
   */
  constructor(
    private readonly lab: LabDescription,
    private readonly desk: Pick<CaptureDesk, 'joinWire' | 'joinBridge'>,
    private readonly driverVis: ReadonlyMap<string, readonly number[]>,
    private readonly request: CaptureRequest,
    private readonly out: StreamOut,
  ) {
    this.target = request.target;
    this.wantsReceiver = request.target.kind === 'vi';
    this.ownMacs = new Set(
      lab.hosts.flatMap(({ driverDomain }) => (driverDomain === null ? [] : [driverDomain.mac])),
    );
    this.writer = CaptureWriter.over(
      (bytes) => {
        out.write(bytes);
      },
      {
        format: 'pcapng',
        originMs: this.originMs,
        application: `netaccel ${VERSION}`,
        comment: `lab ${lab.name}, ${fullName(request.target)}`,
        ...(request.snapBytes > 0 ? { snapBytes: request.snapBytes } : {}),
      },
    );
  }

  /** Captures until the client has enough. */
  async run(): Promise<CaptureProgress> {
    const { out, writer } = this;
    const over = new Promise<void>((resolve) => {
      this.finish = resolve;
      out.stopped.addEventListener('abort', () => {
        resolve();
      });
    });
    this.leave = this.join();
    await this.leave;
    writer.flush();
    const timer = setInterval(() => {
      writer.flush();
      out.note(this.progress);
    }, NOTE_MS);
    try {
      out.note(this.progress);
      await over;
    } finally {
      clearInterval(timer);
      await (
        await this.leave
      )();
      writer.close();
    }
    return this.progress;
  }

  /**
   * A guest has moved, or has another number: its capture goes on where it is now. What passes while the capture follows
   * is not in it.
   */
  guestMoved(name: string, from: string, host: PlacedHost): void {
    const { target } = this;
    const guest = host.guests.find((each) => each.name === name);
    if (target.kind !== 'guest' || target.guest.name !== name || target.host.name !== from) return;
    if (guest === undefined) return;
    this.leave = this.leave.then(async (leave) => {
      await leave();
      this.target = { kind: 'guest', host, guest, domid: guest.domid };
      return this.join();
    });
    // Of a host that is gone nothing more comes.
    this.leave.catch(() => this.finish());
  }

  /** {@inheritDoc Collector.frame} */
  frame(frame: Captured): void {
    const { place, outgoing, timeUs, bytes, sender } = frame;
    const { request, out } = this;
    if (!this.isWanted(frame) || (request.count > 0 && this.frames === request.count)) return;
    if (out.waitingBytes > MOST_WAITING_BYTES) {
      this.missed++;
      return;
    }
    const timeNs = Math.max(0, Math.round((timeUs - this.originMs * 1000) * 1000));
    const [index, direction] = this.whereSeen(place, outgoing);
    if (this.writer.packet(bytes, index, direction, timeNs, this.pathOf(place, bytes, sender))) this.frames++;
    if (this.frames === request.count) this.finish();
  }

  /** {@inheritDoc Collector.lost} */
  lost(frames: number): void {
    this.missed += frames;
  }

  private get progress(): CaptureProgress {
    return { frames: this.frames, lost: this.missed };
  }

  private join(): Promise<() => Promise<void>> {
    const { target } = this;
    if (target.kind === 'port' || target.kind === 'vi') {
      const at = this.lab.wires.findIndex(({ ends }) =>
        ends.some(({ host, port }) => host === target.host.name && port === target.port),
      );
      if (at < 0)
        throw new UnknownNameError(
          `expected a NIC port with a wire, saw ${fullName(target)}, which has none; ` +
            `capture ${target.host.name} for its whole bridge, or a guest`,
        );
      const what =
        target.kind === 'port' ? 'NIC port' : `VI of ${this.isDrivers() ? 'the driver domain' : 'a guest'}`;
      this.interfaceOf(
        fullName(target),
        `${what}, wired to ${wiredTo(this.lab, target.host.name, target.port) ?? 'none'}`,
      );
      return Promise.resolve(this.desk.joinWire(at, this));
    }
    if (target.kind === 'guest') {
      const vif = `vif${target.domid}.0`;
      this.interfaceOf(fullName(target), `${vif}, as the driver domain sees it`);
      return this.desk.joinBridge(target.host.name, { into: [vif], outOf: [vif] }, this);
    }
    this.lab.hosts
      .find(({ name }) => name === target.host.name)
      ?.bridge.ports.forEach((port) => this.interfaceOf(`${target.host.name}.${port}`, 'NIC port'));
    return this.desk.joinBridge(target.host.name, { into: null, outOf: [] }, this);
  }

  /** All that passes where it captures; of a VI what that sends, and what its port's filters lead to it. */
  private isWanted({ place, sender, receiver }: Captured): boolean {
    const { target } = this;
    if (target.kind !== 'vi') return true;
    return (place === `${target.host.name}.${target.port}` ? sender : receiver) === target.vi;
  }

  /** Whether the VI that is captured is its driver domain's. */
  private isDrivers(): boolean {
    const { target } = this;
    return target.kind === 'vi' && this.driverVis.get(target.host.name)?.includes(target.vi) === true;
  }

  /** The interface of a frame, and its direction seen from there. */
  private whereSeen(place: string, outgoing: boolean): [number, CaptureDirection] {
    const { target } = this;
    if (target.kind === 'port' || target.kind === 'vi') {
      const direction =
        place === `${target.host.name}.${target.port}` ? CaptureDirection.outbound : CaptureDirection.inbound;
      return [this.interfaceOf(fullName(target)), direction];
    }
    const name = this.nameOfBridgePort(target.host, place);
    return [this.interfaceOf(name), outgoing ? CaptureDirection.outbound : CaptureDirection.inbound];
  }

  private interfaceOf(name: string, description?: string): number {
    let index = this.interfaces.get(name);
    if (index === undefined) {
      index = this.writer.addInterface({ name, ...(description === undefined ? {} : { description }) });
      this.interfaces.set(name, index);
    }
    return index;
  }

  private nameOfBridgePort(host: PlacedHost, place: string): string {
    const guest = host.guests.find(({ domid }) => place === `vif${domid}.0`);
    return `${host.name}.${guest?.name ?? place}`;
  }

  /** A frame that a guest's own VI sent is fast; one from or to a driver domain itself is native. */
  private pathOf(place: string, bytes: Uint8Array, sender: number | null): Path {
    // Whatever way it took to the other end of the wire.
    if (this.target.kind === 'vi' && !this.isDrivers()) return 'fast';
    if (sender !== null) {
      const host = place.slice(0, place.indexOf('.'));
      if (this.driverVis.get(host)?.includes(sender) === false) return 'fast';
    }
    return this.ownMacs.has(macAt(bytes, 0)) || this.ownMacs.has(macAt(bytes, MAC_BYTES)) ? 'native' : 'slow';
  }
}

function macAt(bytes: Uint8Array, at: number): string {
  return Array.from(bytes.subarray(at, at + MAC_BYTES), (byte) => byte.toString(16).padStart(2, '0')).join(
    ':',
  );
}
