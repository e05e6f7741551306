/**
 * What a backend plugin is handed for one vif (`BackendServices`), made over the domain's own parts. Each thing
 * handed out is in the plugin's scope; each callback is guarded. Made at probe by the accelerator slot.
 */
import type {
  BackendServices,
  CreditHandler,
  EventEnd,
  Frame,
  Mailbox,
  MappedPages,
  NicPortHold,
  PluginEvents,
  PluginStore,
  ReceiveFence,
  SharedPages,
  VifIdentity,
  VifLimits,
} from '@netaccel/core-hooks';
import { StoreError } from '@netaccel/xen/store';
import type { Domain, DomainId, EventChannel } from '@netaccel/xen';
import type { PluginScope } from './scope.js';

/** Keys in the plugin's directory that are the drivers' own. */
const DRIVER_KEYS = /^(state|mailbox-.*)$/;
const KEY = /^[A-Za-z0-9_-]{1,64}$/;

/** What the services of one attachment are made from. */
export interface ServiceParts {
  readonly domain: Domain;
  readonly guest: DomainId;
  /** The plugin's own contract version, by which it is driven. */
  readonly contract: number;
  readonly vif: VifIdentity;
  readonly limits: VifLimits;
  readonly port: NicPortHold;
  readonly mailbox: Mailbox;
  readonly scope: PluginScope;
  /** The plugin's directories in the two halves of the vif. */
  readonly ownPath: string;
  readonly peerPath: string;
  /** For log lines. */
  readonly title: string;
  fence(): Promise<ReceiveFence>;
  rateBytesPerSecond(): number;
  shareCredit(fast: CreditHandler): () => void;
  failed(reason: string): void;
}

/** Makes them. */
export function makeServices(parts: ServiceParts): BackendServices {
  const { domain, guest, scope, title } = parts;
  const { loop } = domain;
  return {
    contract: parts.contract,
    memory: domain.memory,
    vif: parts.vif,
    limits: parts.limits,
    port: scopedPort(parts.port, scope),
    mailbox: scopedMailbox(parts.mailbox, scope),
    events: scopedEvents(domain, guest, scope),
    store: scopedStore(parts),
    clock: {
      now: () => loop.now(),
      after(ms, fn) {
        scope.check('clock.after');
        const run = scope.guard('a timer', fn);
        const over = scope.own(() => {
          cancel();
        });
        const cancel = loop.after(ms, () => {
          over();
          run();
        });
        return over;
      },
    },
    share(pages, access): SharedPages {
      scope.check('share');
      const shared = domain.grants.share(guest, pages, access);
      let released = false;
      const over = scope.own(() => (released = shared.release()));
      return {
        address: shared.address,
        pages: shared.pages,
        refs: shared.refs,
        release() {
          over();
          return released || (released = shared.release());
        },
      };
    },
    map(refs, access): MappedPages {
      scope.check('map');
      const mapped = domain.foreign.map(guest, refs, access);
      return {
        addresses: mapped.addresses,
        unmap: scope.own(() => {
          mapped.unmap();
        }),
      };
    },
    fence() {
      if (scope.closed) return Promise.reject(detached('fence'));
      return parts.fence();
    },
    get rateBytesPerSecond() {
      return parts.rateBytesPerSecond();
    },
    onCredit(handler) {
      scope.check('onCredit');
      // Outside of the guard's type: what a handler answers is judged where it is used.
      let left = 0;
      const guarded = scope.guard('the onCredit handler', (bytes: number, most: number) => {
        left = handler(bytes, most);
      });
      return scope.own(
        parts.shareCredit((bytes, most) => {
          left = bytes;
          guarded(bytes, most);
          return left;
        }),
      );
    },
    log(level, message) {
      domain.log(level, `${title}: ${message}`);
    },
    failed(reason) {
      parts.failed(reason);
    },
  };

  function detached(service: string): Error {
    try {
      scope.check(service);
    } catch (error) {
      return error as Error;
    }
    return new Error(service);
  }
}

/** Requests that were on their way when the plugin was detached do not reach it any more. */
function scopedMailbox(mailbox: Mailbox, scope: PluginScope): Mailbox {
  return {
    request: (type, payload, timeoutMs) => mailbox.request(type, payload, timeoutMs),
    handle(type, handler) {
      scope.check('mailbox.handle');
      mailbox.handle(type, (payload) =>
        scope.closed ? { ok: false, payload: new Uint8Array() } : handler(payload),
      );
    },
  };
}

function scopedEvents(domain: Domain, guest: DomainId, scope: PluginScope): PluginEvents {
  const channels = new WeakMap<EventEnd, EventChannel>();
  const wrap = (channel: EventChannel): EventEnd => {
    const end: EventEnd = {
      port: channel.port,
      notify: () => channel.notify(),
      unmask: () => channel.unmask(),
      close: scope.own(() => channel.close()),
    };
    channels.set(end, channel);
    return end;
  };
  return {
    open(handler) {
      scope.check('events.open');
      return wrap(domain.events.allocateUnbound(guest, scope.guard('an event handler', handler)));
    },
    bind(remotePort, handler) {
      scope.check('events.bind');
      return wrap(domain.events.bindInterdomain(guest, remotePort, scope.guard('an event handler', handler)));
    },
    vector(end) {
      const channel = channels.get(end);
      if (channel === undefined)
        throw new TypeError('events.vector: expected an end that events.open or bind gave');
      return domain.events.vector(channel);
    },
  };
}

function scopedStore({ domain, scope, ownPath, peerPath }: ServiceParts): PluginStore {
  const key = (path: string, name: string, service: string): string => {
    scope.check(service);
    if (!KEY.test(name))
      throw new TypeError(`${service}: expected a key of letters, digits, - and _, saw ${name}`);
    return `${path}/${name}`;
  };
  /** A key that is gone, or that the guest does not show, is not there. */
  const read = async (path: string): Promise<string | null> => {
    try {
      return await domain.store.readOptional(path);
    } catch (error) {
      if (error instanceof StoreError && error.code === 'EACCES') return null;
      throw error;
    }
  };
  return {
    read: async (name) => read(key(ownPath, name, 'store.read')),
    readPeer: async (name) => read(key(peerPath, name, 'store.readPeer')),
    async write(name, value) {
      const path = key(ownPath, name, 'store.write');
      if (DRIVER_KEYS.test(name)) throw new TypeError(`store.write: ${name} is the driver's own key`);
      // Not after the directory is gone: a write would bring it back.
      await domain.store.transaction(async (transaction) => {
        if (await domain.store.exists(ownPath, transaction))
          await domain.store.write(path, value, transaction);
      });
    },
    async watchPeer(name, handler) {
      const path = key(peerPath, name, 'store.watchPeer');
      const watch = await domain.store.watch(
        path,
        scope.guard('a store watch', () => handler()),
        { depth: 0 },
      );
      let removal: Promise<void> | undefined;
      const over = scope.own(() => {
        removal = watch.remove();
      });
      if (scope.closed) over();
      return async () => {
        over();
        await removal;
      };
    },
  };
}

function scopedPort(port: NicPortHold, scope: PluginScope): NicPortHold {
  const hold = <Arguments extends unknown[]>(
    what: string,
    subscribe: (handler: (...args: Arguments) => void) => () => void,
    handler: (...args: Arguments) => void,
  ): (() => void) => {
    scope.check(`port.${what}`);
    return scope.own(subscribe(scope.guard(`the ${what} handler`, handler)));
  };
  return {
    name: port.name,
    device: port.device,
    onReceive: (handler) => hold<[Frame]>('onReceive', (guarded) => port.onReceive(guarded), handler),
    onTransmit: (handler) => hold<[Frame]>('onTransmit', (guarded) => port.onTransmit(guarded), handler),
    onLink: (handler) => hold<[boolean]>('onLink', (guarded) => port.onLink(guarded), handler),
    onReset: (handler) => hold<[]>('onReset', (guarded) => port.onReset(guarded), handler),
    received: () => port.received(),
  };
}
