/**
 * What a plugin is handed for one device: interfaces over this domain, its connection and its store keys, and
 * nothing that reaches further. One instance lives from just before `newDevice` until the plugin is gone.
 *
 * Everything a plugin gets is noted down, so that a plugin that is removed by force, or forgets something,
 * leaves nothing behind: `revoke` gives it back and says what it was. After that every service is dead.
 *
 * Every service is a function of its own, bound when the services are made, so that a plugin may take it out
 * (`const { completed } = services`); a call of one costs what a method's does.
 */
import { PAGE_BYTES } from '@netaccel/core-hooks';
import type {
  Clock,
  EventEnd,
  Frame,
  FrontendServices,
  LogLevel,
  Mailbox,
  Memory,
  PluginEvents,
  PluginStore,
  ReceiveFence,
  Registers,
  SharedPages,
  VifIdentity,
} from '@netaccel/core-hooks';
import type { Domain, DomainId, EventChannel } from '@netaccel/xen';
import type { Connection } from './connection.js';
import { DRIVER_KEYS } from './accelerator-keys.js';
import { messageOf } from './hooks.js';
import type { Hooks } from './hooks.js';

/** What the services stand on. */
export interface PluginServicesParts {
  readonly domain: Domain;
  readonly backend: DomainId;
  readonly connection: Connection;
  readonly vif: VifIdentity;
  readonly contract: number;
  readonly plugin: string;
  readonly mailbox: Mailbox;
  /** The directories of the vif's two halves. */
  readonly frontendPath: string;
  readonly backendPath: string;
  /** The plugin gives up, or broke a rule before its hooks were live. */
  readonly onTrouble: (reason: string) => void;
}

/** A plugin used a service after it was detached. */
export class ServiceRevokedError extends Error {
  /** Stable code for programs. */
  readonly code = 'SERVICE_REVOKED';
  /** @param what the service. */
  constructor(what: string) {
    super(
      `${what} was called after the plugin was detached; nothing may be acquired after remove() was called`,
    );
    this.name = 'ServiceRevokedError';
  }
}

/** Something a plugin holds. */
interface Held {
  readonly what: string;
  readonly give: () => void;
}

/** {@inheritDoc FrontendServices} */
export class PluginServices implements FrontendServices {
  readonly contract: number;
  readonly memory: Memory;
  readonly mailbox: Mailbox;
  readonly vif: VifIdentity;
  readonly transmitMemory: SharedPages;
  readonly events: PluginEvents;
  readonly store: PluginStore;
  readonly clock: Clock;
  /** The live hooks; null before and after. */
  hooks: Hooks | null = null;
  private readonly held = new Set<Held>();
  private revoked = false;

  constructor(private readonly parts: PluginServicesParts) {
    const { domain, connection } = parts;
    this.contract = parts.contract;
    this.memory = domain.memory;
    const { mailbox } = parts;
    this.mailbox = {
      request: (type, payload, timeoutMs) => mailbox.request(type, payload, timeoutMs),
      handle: (type, handler) => mailbox.handle(type, handler),
    };
    this.vif = parts.vif;
    const { address, pages, refs } = connection.buffers.shared;
    this.transmitMemory = {
      address,
      pages,
      refs: refs.slice(),
      release: () => {
        throw new Error(
          `transmitMemory belongs to netfront: ${parts.plugin} may use its ${pages} pages, not release them`,
        );
      },
    };
    this.events = {
      open: (handler) =>
        this.listen('an event channel', (h) => domain.events.allocateUnbound(parts.backend, h), handler),
      bind: (remote, handler) =>
        this.listen(
          'a bound event channel',
          (h) => domain.events.bindInterdomain(parts.backend, remote, h),
          handler,
        ),
      vector: (end) => {
        if (!(end instanceof PluginEventEnd))
          throw new TypeError('vector: expected an end that open or bind answered');
        return domain.events.vector(end.channel);
      },
    };
    this.clock = { now: () => domain.loop.now(), after: (ms, fn) => this.after(ms, fn) };
    const own = `${parts.frontendPath}/accel`;
    const peer = `${parts.backendPath}/accel`;
    this.store = {
      read: (name) => domain.store.readOptional(this.key(own, name)),
      write: (name, value) => {
        if ((DRIVER_KEYS as readonly string[]).includes(name))
          throw new RangeError(`store: ${name} belongs to netfront; choose another name`);
        this.alive('store.write');
        return domain.store.write(this.key(own, name), value);
      },
      readPeer: (name) => domain.store.readOptional(this.key(peer, name)),
      watchPeer: (name, handler) => this.watchPeer(this.key(peer, name), handler),
    };
  }

  /** {@inheritDoc CommonServices.share} */
  readonly share = (pages: number, access: 'read' | 'write'): SharedPages => {
    this.alive('share');
    const shared = this.parts.domain.grants.share(this.parts.backend, pages, access);
    const held = this.hold(`${pages} shared pages at ${shared.address / PAGE_BYTES}`, () => shared.release());
    return {
      address: shared.address,
      pages: shared.pages,
      refs: shared.refs,
      release: () => {
        this.held.delete(held);
        return shared.release();
      },
    };
  };

  /** {@inheritDoc FrontendServices.mapRegisters} */
  readonly mapRegisters = (ref: number, doorbell: number): Registers => {
    this.alive('mapRegisters');
    const registers = this.parts.domain.foreign.mapRegisters(this.parts.backend, ref, doorbell);
    const held = this.hold(`registers of grant ${ref}`, () => registers.unmap());
    return {
      write32: (offset, value) => registers.write32(offset, value),
      read32: (offset) => registers.read32(offset),
      unmap: () => {
        this.held.delete(held);
        registers.unmap();
      },
    };
  };

  /** {@inheritDoc FrontendServices.deliver} */
  readonly deliver = (frame: Frame): void => {
    const { hooks } = this;
    if (hooks === null) return this.early('deliver');
    hooks.progress++;
    if (!this.parts.connection.receive.deliver(frame)) {
      this.parts.connection.raise();
      hooks.misbehaved('deliver was called outside of poll, or far beyond its budget');
    }
  };

  /** {@inheritDoc FrontendServices.completed} */
  readonly completed = (frame: Frame): void => {
    const { hooks } = this;
    if (hooks === null) return this.early('completed');
    hooks.progress++;
    const { transmit } = this.parts.connection;
    if (!transmit.fast.completed(frame))
      hooks.misbehaved('completed was called for a frame that it does not have');
    else if (transmit.stops !== 0) this.parts.connection.raise();
  };

  /** {@inheritDoc FrontendServices.wake} */
  readonly wake = (): void => {
    if (this.hooks === null) return;
    this.parts.connection.transmit.fast.wake();
    this.parts.connection.raise();
  };

  /** {@inheritDoc FrontendServices.schedulePoll} */
  readonly schedulePoll = (): void => {
    if (this.hooks !== null) this.parts.connection.raise();
  };

  /** {@inheritDoc FrontendServices.passed} */
  readonly passed = (fence: ReceiveFence): boolean => {
    return this.parts.connection.receive.passed(fence);
  };

  /** {@inheritDoc CommonServices.log} */
  readonly log = (level: LogLevel, message: string): void => {
    this.parts.domain.log(level, `vif ${this.vif.handle}: ${this.parts.plugin}: ${message}`);
  };

  /** {@inheritDoc CommonServices.failed} */
  readonly failed = (reason: string): void => {
    if (!this.revoked) this.parts.onTrouble(reason);
  };

  /**
   * The plugin is gone: gives back what it still holds.
   * @returns what that was, for the operator.
   */
  revoke(): string[] {
    this.revoked = true;
    this.hooks = null;
    const left = [...this.held];
    this.held.clear();
    for (const { give } of left) give();
    return left.map(({ what }) => what);
  }

  private early(what: string): void {
    if (!this.revoked) this.parts.onTrouble(`${what} was called before newDevice was done`);
  }

  private alive(what: string): void {
    if (this.revoked) throw new ServiceRevokedError(what);
  }

  private hold(what: string, give: () => void): Held {
    const held = { what, give };
    this.held.add(held);
    return held;
  }

  private key(directory: string, name: string): string {
    if (!/^[A-Za-z0-9_@-]{1,64}$/.test(name))
      throw new RangeError(
        `store: expected a plain name of letters, digits, - _ @; saw ${JSON.stringify(name)}`,
      );
    return `${directory}/${name}`;
  }

  private listen(what: string, make: (handler: () => void) => EventChannel, handler: () => void): EventEnd {
    this.alive(what);
    const channel = make(() => this.guarded('an event handler', handler));
    const held = this.hold(`${what}, port ${channel.port}`, () => channel.close());
    return new PluginEventEnd(channel, () => this.held.delete(held));
  }

  private after(ms: number, fn: () => void): () => void {
    this.alive('clock.after');
    const held = this.hold(`a timer of ${ms} ms`, () => cancel());
    const cancel = this.parts.domain.loop.after(ms, () => {
      this.held.delete(held);
      this.guarded('a timer', fn);
    });
    return () => {
      this.held.delete(held);
      cancel();
    };
  }

  private async watchPeer(path: string, handler: () => void): Promise<() => Promise<void>> {
    this.alive('store.watchPeer');
    const watch = await this.parts.domain.store.watch(path, () => this.guarded('a watch', handler));
    if (this.revoked) {
      await watch.remove();
      throw new ServiceRevokedError('store.watchPeer');
    }
    const held = this.hold(`a watch on ${path}`, () => void watch.remove());
    return () => {
      this.held.delete(held);
      return watch.remove();
    };
  }

  /** Calls the plugin from outside of its hooks: a throw detaches it. */
  private guarded(what: string, fn: () => void): void {
    if (this.revoked) return;
    try {
      fn();
    } catch (error) {
      const reason = `${what} threw: ${messageOf(error)}`;
      if (this.hooks === null) this.parts.onTrouble(reason);
      else this.hooks.misbehaved(reason);
    }
  }
}

/** {@inheritDoc EventEnd} */
class PluginEventEnd implements EventEnd {
  constructor(
    readonly channel: EventChannel,
    private readonly onClose: () => void,
  ) {}

  get port(): number {
    return this.channel.port;
  }

  notify(): void {
    this.channel.notify();
  }

  unmask(): void {
    this.channel.unmask();
  }

  close(): void {
    this.onClose();
    this.channel.close();
  }
}
