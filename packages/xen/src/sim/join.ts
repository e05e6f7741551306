/** A domain in a worker thread: the part in the worker. Node only, for `receiveMessageOnPort`. */
import { receiveMessageOnPort } from 'node:worker_threads';
import type { MessagePort } from 'node:worker_threads';
import type { Address, LogLevel } from '@netaccel/core-hooks';
import { MachineError } from '../machine.js';
import type { DomainId } from '../machine.js';
import { StoreClient, connectPort } from '../store/index.js';
import type { PortLike } from '../store/index.js';
import type { DomainContext } from './context.js';
import { DomainLoop } from './domain-loop.js';
import type { DomainLoopOptions } from './domain-loop.js';
import { SimDomain, noteEventChannels } from './domain.js';
import type { DomainOptions } from './domain.js';
import type { Faults } from './faults.js';
import { Lab } from './lab.js';
import { SharedMemory } from './memory.js';
import type { DeviceResolver, RegisterHandler } from './registers.js';
import type { DomainSeat, MachineDescription } from './shared-machine.js';
import { wakeDomain } from './wake.js';

/** What a worker brings along. */
export interface JoinOptions extends DomainLoopOptions, DomainOptions {
  /** The domain's connection to the store, from its `DomainSeat`. */
  readonly storePort: MessagePort;
  /** What people call the domain. */
  readonly name?: string;
  /** Wakes others that sleep by a `Waker`; the own waker's `wake` when left out. */
  readonly wake?: (handle: number) => void;
  /** Takes the domain's lines; the console when left out. */
  readonly log?: (level: LogLevel, message: string) => void;
  /** What a test lets go wrong; `event`, `storeMessage` and `step` are not asked here. */
  readonly faults?: Faults;
}

/** Messages of the store handled at once, before the loop goes on. */
const MAIL_BATCH = 32;

/** A worker's hold on its machine. */
export class JoinedMachine {
  /** The domain. */
  readonly domain: SimDomain;
  /** Its loop: `await loop.run()` is the worker's life. */
  readonly loop: DomainLoop;
  /** The lab's memory, as NIC models and wires use it. */
  readonly memory: SharedMemory;
  /** Finds who handles writes, from this thread, to a page of registers that `onRegisterWrite` does not know. */
  deviceResolver: DeviceResolver = () => undefined;
  private readonly lab: Lab;
  private readonly devices = new Map<Address, RegisterHandler>();
  /** Handles what the store sent; another one after a move. */
  private mail: () => void;

  constructor(description: MachineDescription, id: DomainId, options: JoinOptions) {
    const { waker, storePort } = options;
    const wake = options.wake ?? waker?.wake.bind(waker);
    this.memory = new SharedMemory(description.memory);
    this.lab = new Lab(this.memory, description.shape, true);
    const slot = this.lab.find(description.host, id);
    if (slot < 0)
      throw new MachineError(
        'CLOSED',
        `${description.name} has no domain ${id}; createDomain() makes it first`,
      );
    this.lab.onSignal = (other) => wakeDomain(this.lab, other, wake);
    this.loop = new DomainLoop(this.lab, slot, options);
    const context: DomainContext = {
      lab: this.lab,
      slot,
      host: description.host,
      id,
      faults: options.faults ?? {},
    };
    const port = pollingPort(storePort);
    const domain = new SimDomain(
      {
        context,
        memory: this.memory,
        loop: this.loop,
        store: new StoreClient(connectPort(port.like)),
        deviceAt: (page) => this.devices.get(page) ?? this.deviceResolver(page),
        ...(options.eventChannels === undefined ? {} : { eventChannels: options.eventChannels }),
        log: options.log ?? ((level, message) => console[level](`dom${id}: ${message}`)),
      },
      options.name ?? `dom${id}`,
    );
    this.domain = domain;
    noteEventChannels(domain, options);
    this.mail = port.poll;
    this.loop.connect({
      deliver: () => domain.events.deliver(),
      mail: () => this.mail(),
      idle: () => domain.grants.retry(),
    });
  }

  /** The suspended domain was moved (`SharedMachine.moveDomain`): this is its seat from here on. */
  rehome({ description, id, storePort }: Pick<DomainSeat, 'description' | 'id' | 'storePort'>): void {
    const port = pollingPort(storePort);
    this.mail = port.poll;
    this.domain.rehome(description.host, id, new StoreClient(connectPort(port.like)));
  }

  /** Says who handles writes, from this thread, to a page of registers; ends with the function returned. */
  onRegisterWrite(page: Address, handler: RegisterHandler): () => void {
    this.devices.set(page, handler);
    return () => {
      if (this.devices.get(page) === handler) this.devices.delete(page);
    };
  }

  /** Notifies the channel that `vector` names: what a device model in this thread calls. */
  raise(vector: number): void {
    this.lab.ports.raise(vector);
  }
}

/**
 * Joins a machine as one of its domains, in a worker.
 *
 * @example
 * ```ts
 * const { description, id, storePort } = workerData as DomainSeat;
 * const { domain, loop } = joinMachine(description, id, { storePort });
 * startDriver(domain);
 * await loop.run();
 * ```
 */
export function joinMachine(
  description: MachineDescription,
  id: DomainId,
  options: JoinOptions,
): JoinedMachine {
  return new JoinedMachine(description, id, options);
}

/** A port that is read when its loop says so: a thread in `Atomics.wait` gets no events. */
function pollingPort(port: MessagePort): { like: PortLike; poll: () => void } {
  let listener: (event: unknown) => void = () => undefined;
  const like: PortLike = {
    postMessage: (frame) => port.postMessage(frame),
    addEventListener: (_type, added) => {
      listener = added;
    },
    start: () => undefined,
    close: () => port.close(),
  };
  const poll = (): void => {
    for (let i = 0; i < MAIL_BATCH; i++) {
      const received = receiveMessageOnPort(port) as { message: unknown } | undefined;
      if (received === undefined) break;
      listener({ data: received.message });
    }
  };
  return { like, poll };
}
