/**
 * The bench of our NIC for the conformance kit: the NIC model under test, a wire without delay, and a second NIC at
 * its other end. A VI of the driver domain takes what no filter of a plugin claims, which is how the bench knows.
 */
import { PAGE_BYTES } from '@netaccel/core-hooks';
import type { Bench, BenchFault, BenchMachine, Receiver } from '@netaccel/core-hooks/conformance';
import type { NicControl, ViId, ViRequest } from '../control.js';
import { Register, transmitDescriptor } from '../layouts.js';
import { Nic, Wire, nicStateBytes, wireStateBytes } from '../model/index.js';
import type { NicConfig } from '../model/index.js';
import { Station, stationPages } from './station.js';

/** How the NIC is made; its own limits apply when left out. */
export interface NicBenchOptions {
  /** The NIC's size. */
  readonly nic?: NicConfig;
}

const SIZE: NicConfig = { vis: 8, bufferPages: 4096, filters: 64 };

/**
 * A bench with the NIC model as device: what `ConformanceSubject.bench` wants.
 *
 * @example
 * ```ts
 * conformance(test, () => ({ frontend, backend, bench: nicBench() }));
 * ```
 */
export function nicBench(options: NicBenchOptions = {}): (machine: BenchMachine) => Bench {
  return (machine) => new NicBench(machine, { ...SIZE, ...options.nic });
}

/** Times that each kind of fault is brought about at most: more events than the longest queue has. */
const MOST_EVENTS = 65_536;
/** A bus address that no buffer has. */
const NOBODYS = 0xffff_f000;

/** A VI of a plugin, for faults. */
interface PluginVi {
  readonly request: ViRequest;
  /** Transmit index of its last doorbell. */
  rung: number;
  /** The next frame is to be refused. */
  refuse: boolean;
}

class NicBench implements Bench {
  readonly device: unknown;
  private readonly nic: Nic;
  private readonly wire: Wire;
  private readonly far: Station;
  private driver: Station;
  private readonly driverPages;
  private readonly sent: Uint8Array[] = [];
  /** Register writes that the device has not seen yet, while it is held. */
  private readonly unseen = new Set<number>();
  private held = false;
  private readonly pluginVis = new Map<ViId, PluginVi>();

  constructor(
    private readonly machine: BenchMachine,
    config: NicConfig,
  ) {
    const { memory, clock } = machine;
    const allocate = (pages: number): number => machine.allocate(pages);
    const take = (bytes: number): number => allocate(Math.ceil(bytes / PAGE_BYTES));
    const make = (interrupt: (vector: number) => void): Nic =>
      Nic.create(
        memory,
        take(nicStateBytes(config)),
        { concurrent: false, interrupt, clock: () => clock.now() * 1000 },
        config,
      );
    this.nic = make((vector) => machine.raise(vector));
    const peer = make(() => undefined);
    this.device = this.noting(this.nic.control(0));
    this.wire = Wire.create(
      memory,
      take(wireStateBytes({})),
      { nic: this.nic, port: 0 },
      { nic: peer, port: 0 },
      {},
    );
    this.far = new Station(memory, peer, stationPages(allocate));
    this.driverPages = stationPages(allocate);
    this.driver = new Station(memory, this.nic, this.driverPages);
  }

  arrive(bytes: Uint8Array): Receiver {
    this.driver.take();
    this.far.send(bytes);
    this.look();
    // What the driver domain did not get was led to a guest, unless there is no link at all.
    return this.driver.take().length > 0 || !this.nic.linkUp(0) ? 'driver' : 'guest';
  }

  takeSent(): Uint8Array[] {
    this.look();
    return this.sent.splice(0);
  }

  holdTransmit(held: boolean): void {
    this.held = held;
    if (held) return;
    for (const address of [...this.unseen]) {
      this.unseen.delete(address);
      this.registerWritten(address);
    }
  }

  setLink(up: boolean): void {
    this.wire.setLink(up);
  }

  fault(kind: BenchFault): boolean {
    const { pluginVis, nic } = this;
    for (const [id, vi] of pluginVis)
      if (kind === 'rights') vi.refuse = true;
      else for (let n = 0; n < MOST_EVENTS && nic.control(0).putEvent(id, n); n++);
    return pluginVis.size > 0;
  }

  reset(): void {
    this.unseen.clear();
    this.pluginVis.clear();
    this.nic.reset();
    this.driver = new Station(this.machine.memory, this.nic, this.driverPages);
  }

  registerWritten(address: number): void {
    const offset = address % PAGE_BYTES;
    if (this.held && offset === Register.transmitProducer) {
      this.unseen.add(address);
      return;
    }
    if (offset === Register.transmitProducer) this.spoil(address - offset);
    this.nic.registerWritten(address);
    this.look();
  }

  resources(): Readonly<Record<string, number>> {
    // The driver domain's own VI and its two filters are always there.
    return { vis: this.nic.describe().liveVis - 1, filters: this.nic.filterCount(0) - 2 };
  }

  /** The port's control, with the VIs that plugins make noted. */
  private noting(control: NicControl): NicControl {
    const { pluginVis } = this;
    const noted: Partial<NicControl> = {
      allocateVi: (request) => {
        const id = control.allocateVi(request);
        pluginVis.set(id, { request, rung: (request.startIndex ?? 0) >>> 0, refuse: false });
        return id;
      },
      freeVi: (id) => {
        pluginVis.delete(id);
        control.freeVi(id);
      },
    };
    return new Proxy(control, {
      get: (target, name) => {
        const value: unknown = Reflect.get(name in noted ? noted : target, name);
        return typeof value === 'function' ? (value as () => unknown).bind(target) : value;
      },
    });
  }

  /** The last descriptor that a doorbell is rung for names memory of nobody, if that VI is to have its fault. */
  private spoil(registers: number): void {
    const { words } = this.machine.memory;
    for (const vi of this.pluginVis.values()) {
      if (vi.request.registerPage !== registers) continue;
      const produced = words[(registers + Register.transmitProducer) >>> 2]! >>> 0;
      if (produced === vi.rung) return;
      vi.rung = produced;
      if (!vi.refuse) return;
      vi.refuse = false;
      const at = (((produced - 1) >>> 0) % vi.request.transmitCapacity) * transmitDescriptor.size;
      words[(vi.request.transmitPages[Math.floor(at / PAGE_BYTES)]! + (at % PAGE_BYTES)) >>> 2] = NOBODYS;
    }
  }

  /** The far end takes what left, before its buffers run out. */
  private look(): void {
    this.sent.push(...this.far.take());
  }
}
