/**
 * The NICs and wires of a lab, as one thread has them.
 *
 * Their state is in the lab's memory: the thread that makes a lab creates them (`createHardware`), every other
 * thread attaches (`attachHardware`) by the plan, which is plain data. A device has no thread: whoever writes one of
 * its registers executes it, so each thread's machine is told who handles register writes (`handlerOf`).
 */
import { PAGE_BYTES } from '@netaccel/core-hooks';
import type { Address, Memory, Registers } from '@netaccel/core-hooks';
import { Nic, Wire, nicStateBytes, wireStateBytes } from '@netaccel/nic-vi/model';
import type { NicConfig, WireConfig, WireSettings } from '@netaccel/nic-vi/model';

/** A NIC of a lab. */
export interface NicPlace {
  /** Its host's name. */
  readonly host: string;
  /** Port names, by number. */
  readonly ports: readonly string[];
  /** Where its state is. */
  readonly address: Address;
  /** Its sizes. */
  readonly config: NicConfig;
}

/** A wire of a lab: two NICs by their index, and ports. */
export interface WirePlace {
  /** Where its state is. */
  readonly address: Address;
  /** Its ends: index of the NIC, number of the port. */
  readonly ends: readonly [readonly [nic: number, port: number], readonly [nic: number, port: number]];
  /** Its sizes. */
  readonly config: WireConfig;
  /** Its rate, delay and faults. */
  readonly settings: WireSettings;
}

/** All of it: plain data, for `postMessage`. */
export interface HardwarePlan {
  readonly nics: readonly NicPlace[];
  readonly wires: readonly WirePlace[];
}

/** How a thread drives the hardware. */
export interface HardwareOptions {
  /** Raises an interrupt, from any domain's context. */
  readonly interrupt: (vector: number) => void;
  /** Microseconds, the same in all threads. */
  readonly clock: () => number;
  /** Whether other threads drive it too. */
  readonly concurrent: boolean;
}

/** Bytes of captured frames that wait for the reader, each direction: some ten milliseconds of a fast wire. */
const CAPTURE_BYTES = 8 * 1024 * 1024;
const FRAME_OVERHEAD_BYTES = 64;

/** A wire that is captured has this size; `mtu` is its payload. */
export function wireConfig(mtu: number): WireConfig {
  return { mtu, captureSlots: 2 ** Math.floor(Math.log2(CAPTURE_BYTES / (mtu + FRAME_OVERHEAD_BYTES))) };
}

/** A NIC before it has a place. */
export type NicRequest = Omit<NicPlace, 'address'>;
/** A wire before it has a place. */
export type WireRequest = Omit<WirePlace, 'address' | 'config'> & {
  /** Payload bytes of a frame that it carries. */
  readonly mtu: number;
  /** Its sizes, where it is not one that can be captured. */
  readonly config?: WireConfig;
};

/** The hardware, as this thread has it. */
export class LabHardware {
  /** NICs, in the plan's order. */
  readonly nics: readonly Nic[];
  /** Wires, in the plan's order. */
  readonly wires: readonly Wire[];
  /** Called after each doorbell of this thread: frames may be under way on a wire that keeps them for later. */
  onDoorbell: () => void = () => undefined;

  /** @internal Use {@link createHardware} or {@link attachHardware}. */
  constructor(
    private readonly memory: Memory,
    readonly plan: HardwarePlan,
    options: HardwareOptions,
    create: boolean,
  ) {
    this.nics = plan.nics.map(({ address, config }) =>
      create ? Nic.create(memory, address, options, config) : Nic.attach(memory, address, options),
    );
    this.wires = plan.wires.map(({ address, ends, config, settings }) => {
      const [a, b] = ends.map(([nic, port]) => ({ nic: this.nics[nic]!, port })) as [WireEndOf, WireEndOf];
      if (!create) return Wire.attach(memory, address, a, b);
      const wire = Wire.create(memory, address, a, b, config);
      wire.set(settings);
      return wire;
    });
  }

  /** The NIC of a host, or undefined. */
  nicOf(host: string): Nic | undefined {
    return this.nics[this.plan.nics.findIndex((nic) => nic.host === host)];
  }

  /** NIC ports of a host, by name. */
  portsOf(host: string): { name: string; control: ReturnType<Nic['control']> }[] {
    const index = this.plan.nics.findIndex((nic) => nic.host === host);
    const nic = this.nics[index];
    return nic === undefined
      ? []
      : this.plan.nics[index]!.ports.map((name, port) => ({ name, control: nic.control(port) }));
  }

  /** Who handles writes to a page of registers, for the thread's machine; undefined when it is no device's. */
  handlerOf(page: Address): ((offset: number, value: number) => void) | undefined {
    const nic = this.nics.find((candidate) => candidate.hasRegisterPage(page));
    if (nic === undefined) return undefined;
    return (offset) => {
      nic.registerWritten(page + offset);
      this.onDoorbell();
    };
  }

  /** A register page of the domain that drives the NIC: a driver domain's own VI. */
  registers(nic: Nic, page: Address): Registers {
    return new DirectRegisters(this.memory, page, (address) => {
      nic.registerWritten(address);
      this.onDoorbell();
    });
  }

  /** Whether some wire keeps frames for later, so that somebody must `advance`. */
  get timed(): boolean {
    return this.plan.wires.some(
      ({ settings }) => (settings.bitsPerSecond ?? 0) > 0 || (settings.delayUs ?? 0) > 0,
    );
  }

  /** Lets due frames arrive. Answers when to call again, in microseconds; Infinity when nothing is under way. */
  advance(nowUs: number): number {
    let next = Infinity;
    for (const nic of this.nics) next = Math.min(next, nic.advance(nowUs));
    return next;
  }
}

type WireEndOf = { readonly nic: Nic; readonly port: number };

/**
 * Makes a lab's hardware.
 * @param allocate gives zeroed pages that nobody frees while the lab lives.
 */
export function createHardware(
  memory: Memory,
  allocate: (pages: number) => Address,
  nics: readonly NicRequest[],
  wires: readonly WireRequest[],
  options: HardwareOptions,
): LabHardware {
  const pages = (bytes: number): Address => allocate(Math.ceil(bytes / PAGE_BYTES));
  const plan: HardwarePlan = {
    nics: nics.map((nic) => ({ ...nic, address: pages(nicStateBytes(nic.config)) })),
    wires: wires.map(({ mtu, config = wireConfig(mtu), ...wire }) => {
      return { ...wire, config, address: pages(wireStateBytes(config)) };
    }),
  };
  return new LabHardware(memory, plan, options, true);
}

/** Attaches to hardware that another thread made. */
export function attachHardware(memory: Memory, plan: HardwarePlan, options: HardwareOptions): LabHardware {
  return new LabHardware(memory, plan, options, false);
}

/** Registers of a VI whose driver is in the domain that has the NIC: no grant, no mapping. */
class DirectRegisters implements Registers {
  private readonly words: Uint32Array;
  private readonly first: number;

  constructor(
    memory: Memory,
    private readonly page: Address,
    private readonly written: (address: Address) => void,
  ) {
    this.words = memory.words;
    this.first = page >>> 2;
  }

  write32(offset: number, value: number): void {
    Atomics.store(this.words, this.first + (offset >>> 2), value);
    this.written(this.page + offset);
  }

  read32(offset: number): number {
    return Atomics.load(this.words, this.first + (offset >>> 2));
  }

  unmap(): void {
    return;
  }
}
