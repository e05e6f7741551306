/** One domain of a simulated machine: its parts put together, whichever loop and thread it runs on. */
import type { LogLevel, Memory } from '@netaccel/core-hooks';
import type { Domain, DomainId, Ledger, Loop } from '../machine.js';
import type { StoreClient } from '../store/index.js';
import type { DomainContext } from './context.js';
import type { EventChannelForm } from './event-delivery.js';
import { SimEvents } from './events.js';
import { SimForeign } from './foreign.js';
import { SimGrants } from './grants.js';
import { LineLimit } from './log.js';
import { SimPages } from './pages.js';
import type { DeviceResolver } from './registers.js';

/** A loop that can say what it still holds. */
export interface CountedLoop extends Loop {
  /** Timers not yet run. */
  readonly timers: number;
  /** Tasks not cancelled. */
  readonly tasks: number;
}

/** What a domain's kernel is like. */
export interface DomainOptions {
  /**
   * The event channels that it asks its hypervisor for; 2-level when left out. Without the memory for FIFO it goes on
   * with 2-level, as Linux does.
   */
  readonly eventChannels?: EventChannelForm;
}

/** What a domain is made of. */
export interface DomainParts extends DomainOptions {
  /** Where it is. */
  readonly context: DomainContext;
  /** Its memory: the lab's, or an audit's view of it. */
  readonly memory: Memory;
  /** Its thread. */
  readonly loop: CountedLoop;
  /** Its connection to the store. */
  readonly store: StoreClient;
  /** Who handles register writes in this thread. */
  readonly deviceAt: DeviceResolver;
  /** Takes its lines. */
  readonly log: (level: LogLevel, message: string) => void;
}

/** A domain of a simulated machine. */
export class SimDomain implements Domain {
  /** The memory that all addresses point into. */
  readonly memory: Memory;
  /** Its private pages. */
  readonly pages: SimPages;
  /** What it grants. */
  readonly grants: SimGrants;
  /** What it was granted. */
  readonly foreign: SimForeign;
  /** Its event channels. */
  readonly events: SimEvents;
  /** Its loop and clock. */
  readonly loop: CountedLoop;
  private readonly context: DomainContext;
  private connection: StoreClient;
  private readonly lines: LineLimit;

  /**
   * @param parts what it is made of.
   * @param name what people call it.
   */
  constructor(
    parts: DomainParts,
    readonly name: string,
  ) {
    const { context, memory, loop, store, deviceAt, eventChannels, log } = parts;
    this.context = context;
    this.memory = memory;
    this.loop = loop;
    this.connection = store;
    this.pages = new SimPages(context);
    this.grants = new SimGrants(context);
    this.foreign = new SimForeign(context, deviceAt);
    this.events = new SimEvents(context, loop, eventChannels);
    this.lines = new LineLimit(loop, log);
  }

  /** Its number on the host that it is on now. */
  get id(): DomainId {
    return this.context.id;
  }

  /** Its connection to that host's store. */
  get store(): StoreClient {
    return this.connection;
  }

  /**
   * It lives on another host now, with its memory. It was suspended: it has no port, no mapping and no grant.
   * @param host the new host's number.
   * @param id its number there.
   * @param store its connection to the store there; the old one is closed.
   */
  rehome(host: number, id: DomainId, store: StoreClient): void {
    this.connection.close();
    this.context.host = host;
    this.context.id = id;
    this.connection = store;
    this.foreign.forgetPeer();
  }

  /** One line for the operator: 50 at once, then 10 a second. */
  log(level: LogLevel, message: string): void {
    this.lines.log(level, message);
  }

  /** What it holds now. Grants that could not be ended are tried once more first. */
  ledger(): Ledger {
    this.grants.retry();
    return {
      pages: this.pages.held,
      grants: this.grants.held,
      mappings: this.foreign.held,
      ports: this.events.held,
      watches: this.store.describe().watches,
      timers: this.loop.timers,
      tasks: this.loop.tasks,
    };
  }

  /** Its state, for people. */
  describe(): Readonly<Record<string, unknown>> {
    const { delivered, form, throttled } = this.events;
    return {
      id: this.id,
      name: this.name,
      ...this.ledger(),
      eventChannels: form,
      eventsDelivered: delivered,
      eventsThrottled: throttled,
    };
  }
}

/** Says so when a domain's kernel did not get the event channels that it asked for. */
export function noteEventChannels(domain: SimDomain, { eventChannels = '2-level' }: DomainOptions): void {
  const { form } = domain.events;
  if (form !== eventChannels)
    domain.log('warn', `no memory for ${eventChannels} event channels: ${form} ones are used`);
}
