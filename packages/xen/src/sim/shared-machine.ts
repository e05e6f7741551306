/**
 * A host whose domains are worker threads: the part in the main thread. It has the memory, the store's server
 * and the list of domains; what workers do with each other goes through the memory alone.
 */
import { MessageChannel } from 'node:worker_threads';
import type { MessagePort } from 'node:worker_threads';
import { PAGE_BYTES } from '@netaccel/core-hooks';
import type { Address, Clock } from '@netaccel/core-hooks';
import { MachineError } from '../machine.js';
import type { DomainId } from '../machine.js';
import { PRIVILEGED_DOMID, StoreClient, StoreServer, connectDirect, servePort } from '../store/index.js';
import type { Connection, PortLike, StoreServerOptions } from '../store/index.js';
import type { DomainOptions } from './domain.js';
import type { EventChannelForm } from './event-delivery.js';
import { Lab } from './lab.js';
import type { Holdings } from './lab.js';
import type { MemoryHandle, SharedMemory } from './memory.js';
import { OWNER_MACHINE, defaultShape, domainRecord, labHeader } from './plan.js';
import type { LabShape } from './plan.js';
import { wakeDomain } from './wake.js';

const MAIL = domainRecord.fields.mail.offset >>> 2;
const STOP = domainRecord.fields.stop.offset >>> 2;
const LAB_STOP = labHeader.fields.stop.offset >>> 2;

/** What a worker needs to know of a machine: structured-cloneable. */
export interface MachineDescription {
  /** The lab's memory. */
  readonly memory: MemoryHandle;
  /** Its sizes. */
  readonly shape: LabShape;
  /** The host's number in the lab. */
  readonly host: number;
  /** The host's name. */
  readonly name: string;
}

/** A domain's place on a machine: send it to a worker, with `storePort` in the transfer list. */
export interface DomainSeat {
  /** The machine. */
  readonly description: MachineDescription;
  /** The domain's number. */
  readonly id: DomainId;
  /** What people call it. */
  readonly name: string;
  /** The event channels that its kernel asks for. */
  readonly eventChannels: EventChannelForm;
  /** Its connection to the store. */
  readonly storePort: MessagePort;
}

/** How a machine is made. */
export interface SharedMachineOptions extends Partial<LabShape> {
  /** Another host's machine, to be in its lab: sizes are that one's. */
  readonly lab?: SharedMachine;
  /** What this host is called. */
  readonly name?: string;
  /** Wakes a domain that sleeps by a `Waker`; see there. */
  readonly wake?: (handle: number) => void;
  /** Options of the store's server. */
  readonly store?: Omit<StoreServerOptions, 'clock' | 'domainExists'>;
}

interface Resident {
  readonly slot: number;
  readonly name: string;
  readonly eventChannels: EventChannelForm;
  readonly connection: Connection;
  readonly port: MessagePort;
}

/** Milliseconds between two looks at what a dead domain left. */
const REAP_MS = 20;

/** Milliseconds of the main thread. */
const clock: Clock = {
  now: () => performance.now(),
  after: (ms, fn) => {
    const timer = setTimeout(fn, ms);
    return () => clearTimeout(timer);
  },
};

/**
 * One host, as the main thread has it.
 *
 * @example
 * ```ts
 * const machine = SharedMachine.create({ pages: 16384 });
 * const seat = machine.createDomain(1, 'guest');
 * const worker = new Worker(file, { workerData: seat, transferList: [seat.storePort] });
 * worker.on('exit', () => machine.destroyDomain(1));
 * ```
 */
export class SharedMachine {
  /** This host's store. */
  readonly storeServer: StoreServer;
  private readonly residents = new Map<DomainId, Resident>();
  private readonly toolstacks: StoreClient[] = [];
  private reaping = false;

  private constructor(
    private readonly lab: Lab,
    private readonly hosts: { count: number },
    private readonly host: number,
    /** What it is called. */
    readonly name: string,
    private readonly wake: ((handle: number) => void) | undefined,
    store: SharedMachineOptions['store'],
  ) {
    lab.onSignal = (slot) => wakeDomain(lab, slot, wake);
    this.storeServer = new StoreServer({
      ...store,
      clock,
      domainExists: (domid) => this.residents.has(domid),
    });
  }

  /** A machine in a lab of its own, or in the lab of another. */
  static create(options: SharedMachineOptions = {}): SharedMachine {
    const { lab: other, name, wake, store, ...sizes } = options;
    const hosts = other?.hosts ?? { count: 0 };
    const host = hosts.count++;
    const { pages, domains, grantPages, ports, mappings } = { ...defaultShape, ...sizes };
    const lab = other?.lab ?? Lab.create({ pages, domains, grantPages, ports, mappings }, true);
    return new SharedMachine(lab, hosts, host, name ?? `host${host}`, wake ?? other?.wake, store);
  }

  /** The lab's memory. */
  get memory(): SharedMemory {
    return this.lab.memory;
  }

  /** What a worker needs to know. */
  get description(): MachineDescription {
    return { memory: this.memory.handle, shape: this.lab.plan.shape, host: this.host, name: this.name };
  }

  /**
   * Makes a domain: its slot, and its connection to the store. Its thread joins by `joinMachine`.
   * @param id its number; the lowest free one when left out.
   * @param name what people call it.
   * @param options what its kernel is like.
   */
  createDomain(id?: DomainId, name?: string, options: DomainOptions = {}): DomainSeat {
    let chosen = id ?? 0;
    while (id === undefined && this.residents.has(chosen)) chosen++;
    const { eventChannels = '2-level' } = options;
    return this.seat(chosen, this.lab.createDomain(this.host, chosen), name ?? `dom${chosen}`, eventChannels);
  }

  /**
   * Moves a suspended domain, with its memory and its thread, to another host of the lab: its thread is told of
   * its new seat, and calls `rehome` with it. This host forgets it.
   * @param id its number here.
   * @param to the other host.
   * @param newId its number there; the lowest free one when left out.
   * @throws MachineError `IN_USE` when it is not suspended, `CLOSED` when the number is taken; it stays then.
   */
  moveDomain(id: DomainId, to: SharedMachine, newId?: DomainId): DomainSeat {
    const { slot, name, eventChannels, connection, port } = this.resident(id);
    let chosen = newId ?? 0;
    while (newId === undefined && to.residents.has(chosen)) chosen++;
    this.lab.moveDomain(slot, to.host, chosen);
    this.residents.delete(id);
    connection.close();
    port.close();
    this.storeServer.releaseDomain(id);
    return to.seat(chosen, slot, name, eventChannels);
  }

  /**
   * Zeroed pages, one after the other, that belong to the machine itself: for the state of its devices. They live
   * as long as the lab.
   */
  reserve(pages: number): Address {
    const first = this.lab.takePages(OWNER_MACHINE - 1, pages);
    if (first < 0)
      throw new MachineError(
        'NO_MEMORY',
        `${pages} pages in a row expected, ${this.lab.freePages} are free in all; make the lab larger`,
      );
    this.memory.clear(first * PAGE_BYTES, pages * PAGE_BYTES);
    return first * PAGE_BYTES;
  }

  /** A connection to the store as domain 0, for a toolstack in this thread. */
  openStore(): StoreClient {
    const client = new StoreClient(
      connectDirect(this.storeServer, PRIVILEGED_DOMID, (task) => void setImmediate(task)),
    );
    this.toolstacks.push(client);
    return client;
  }

  /**
   * Gives a domain's event loop a turn now: after a message was posted to its worker, say. Without it such a
   * message waits until the domain has other control work, at most half a second.
   */
  nudge(id: DomainId): void {
    const { slot } = this.resident(id);
    Atomics.add(this.memory.words, (this.lab.plan.record(slot) >>> 2) + MAIL, 1);
    this.lab.onSignal(slot);
  }

  /** Asks a domain's loop to end; its worker then returns from `run`. */
  stopDomain(id: DomainId): void {
    const { slot } = this.resident(id);
    Atomics.store(this.memory.words, (this.lab.plan.record(slot) >>> 2) + STOP, 1);
    this.lab.onSignal(slot);
  }

  /** Asks every loop of the lab to end. */
  stop(): void {
    Atomics.store(this.memory.words, LAB_STOP, 1);
    for (let slot = 0; slot < this.lab.plan.shape.domains; slot++) this.lab.onSignal(slot);
  }

  /**
   * A domain is gone: its ports close, its grants, mappings and pages go, the store forgets it.
   * Its thread has ended.
   */
  destroyDomain(id: DomainId): void {
    const { slot, connection, port } = this.resident(id);
    this.residents.delete(id);
    connection.close();
    port.close();
    this.lab.destroyDomain(slot);
    this.reapLater();
    if (id !== PRIVILEGED_DOMID) this.storeServer.releaseDomain(id);
  }

  /** Ends the store's connections in this thread, so that the process can exit. Workers have ended. */
  close(): void {
    for (const id of [...this.residents.keys()]) this.destroyDomain(id);
    for (const client of this.toolstacks.splice(0)) client.close();
    this.storeServer.close();
  }

  /** Notifies the channel that `vector` names: what a device model in this thread calls. */
  raise(vector: number): void {
    this.lab.ports.raise(vector);
  }

  /** Pages of the lab that nobody owns. */
  get freePages(): number {
    return this.lab.freePages;
  }

  /** What a domain holds, read from the shared tables. */
  holdings(id: DomainId): Holdings {
    return this.lab.holdings(this.resident(id).slot);
  }

  /** Its state, for people. */
  describe(): Readonly<Record<string, unknown>> {
    return {
      name: this.name,
      pages: this.lab.plan.shape.pages,
      freePages: this.lab.freePages,
      domains: [...this.residents].map(([id, { slot, name }]) => ({ id, name, ...this.lab.holdings(slot) })),
      store: this.storeServer.describe(),
    };
  }

  private seat(id: DomainId, slot: number, name: string, eventChannels: EventChannelForm): DomainSeat {
    const { port1, port2 } = new MessageChannel();
    const connection = servePort(this.storeServer, id, this.wakingPort(port1, slot));
    this.residents.set(id, { slot, name, eventChannels, connection, port: port1 });
    return { description: this.description, id, name, eventChannels, storePort: port2 };
  }

  /** Looks after what dead domains left while others still use it. */
  private reapLater(): void {
    if (this.lab.reap() || this.reaping) return;
    this.reaping = true;
    setTimeout(() => {
      this.reaping = false;
      this.reapLater();
    }, REAP_MS).unref();
  }

  /** A port that wakes its domain for what is posted to it. */
  private wakingPort(port: MessagePort, slot: number): PortLike {
    const { words } = this.memory;
    const mail = (this.lab.plan.record(slot) >>> 2) + MAIL;
    return {
      postMessage: (frame) => {
        port.postMessage(frame);
        Atomics.add(words, mail, 1);
        this.lab.onSignal(slot);
      },
      addEventListener: (type, listener) => void port.on(type, (data: unknown) => listener({ data })),
      start: () => port.start(),
      close: () => port.close(),
    };
  }

  private resident(id: DomainId): Resident {
    const resident = this.residents.get(id);
    if (resident === undefined)
      throw new MachineError(
        'CLOSED',
        `${this.name} has no domain ${id}; it has ${[...this.residents.keys()].join()}`,
      );
    return resident;
  }
}
