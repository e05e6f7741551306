/** A machine with a driver domain and a guest whose event channels are FIFO, and a look into the guest's words. */
import { PAGE_BYTES } from '@netaccel/core-hooks';
import type { Faults, PortTables, SimDomain, SimEventChannel } from '../../src/sim/index.js';
import { FIFO_WORDS_PER_PAGE, SimMachine, domainRecord, fifoControlBlock } from '../../src/sim/index.js';

const CONTROL = domainRecord.fields.control.offset;
const ARRAY = domainRecord.fields.array.offset;

/** Both ends of a channel: `from` is the guest's. */
export interface Ends {
  readonly from: SimEventChannel;
  readonly to: SimEventChannel;
}

export const portsOf = (ends: readonly Ends[]): number[] => ends.map(({ from }) => from.port);

export class FifoRig {
  readonly faults: Faults;
  readonly machine: SimMachine;
  readonly back: SimDomain;
  readonly guest: SimDomain;
  /** The guest's. */
  readonly slot: number;
  readonly ports: PortTables;
  /** Ports whose events the guest heard. */
  readonly seen: number[] = [];

  private constructor(shape: { pages: number; ports: number }) {
    this.faults = {};
    this.machine = new SimMachine({ ...shape, domains: 4, faults: this.faults, audit: true });
    this.back = this.machine.createDomain(0, 'back', { eventChannels: '2-level' });
    this.guest = this.machine.createDomain(1, 'guest', { eventChannels: 'fifo' });
    this.ports = this.machine.lab.core.ports;
    this.slot = this.machine.lab.core.find(0, 1);
  }

  static async make(shape = { pages: 2048, ports: 4096 }): Promise<FifoRig> {
    const rig = new FifoRig(shape);
    await rig.machine.settle();
    return rig;
  }

  /** So many channels from domain 0 to the guest, which notes the port of each event. */
  async channels(count: number, onEvent: (port: number) => void = () => undefined): Promise<Ends[]> {
    const ends = Array.from({ length: count }, () => {
      const from = this.guest.events.allocateUnbound(0, () => {
        this.seen.push(from.port);
        onEvent(from.port);
        from.unmask();
      });
      const to = this.back.events.bindInterdomain(1, from.port, () => to.unmask());
      return { from, to };
    });
    await this.machine.settle();
    return ends;
  }

  word(address: number): number {
    return this.machine.memory.words[address >>> 2]!;
  }

  poke(address: number, value: number): void {
    this.machine.memory.words[address >>> 2] = value;
  }

  /** Pages of event words, as the hypervisor notes them. */
  arrayPages(): number[] {
    return [...Array(8).keys()].map((i) => this.word(this.record() + ARRAY + i * 4));
  }

  /** Address of the control block, 0 without one. */
  control(): number {
    return this.word(this.record() + CONTROL);
  }

  readyAt(): number {
    return this.control() + fifoControlBlock.fields.ready.offset;
  }

  headAt(priority: number): number {
    return this.control() + fifoControlBlock.fields.heads.offset + priority * 4;
  }

  /** Address of a port's event word. */
  eventAt(port: number): number {
    const page = this.word(this.record() + ARRAY + Math.floor(port / FIFO_WORDS_PER_PAGE) * 4);
    return page * PAGE_BYTES + (port % FIFO_WORDS_PER_PAGE) * 4;
  }

  private record(): number {
    return this.machine.lab.core.plan.record(this.slot);
  }
}
