/**
 * What the scripted host hands both halves: pages, events, store, clock, mailbox, log. Each is in the half's account.
 */
import { PAGE_BYTES } from '../../memory.js';
import type {
  Clock,
  CommonServices,
  EventEnd,
  PluginEvents,
  PluginStore,
  SharedPages,
} from '../../services.js';
import type { VirtualClock } from '../../testing/virtual-clock.js';
import type { Half } from './half.js';
import type { BenchTop } from './machine.js';
import type { MailEnd } from './mailbox.js';

/** Keys of one half, and who watches them. */
export class Keys {
  readonly values = new Map<string, string>();
  readonly watchers = new Set<{ readonly name: string; readonly handler: () => void }>();

  write(name: string, value: string): void {
    this.values.set(name, value);
    for (const watcher of [...this.watchers]) if (watcher.name === name) watcher.handler();
  }
}

/** What services are made from. */
export interface ServiceParts {
  readonly top: BenchTop;
  readonly clock: VirtualClock;
  readonly half: Half;
  readonly mailbox: MailEnd;
  readonly contract: number;
  readonly own: Keys;
  readonly peer: Keys;
  /** A plugin's handler, made harmless for who calls it. */
  readonly guard: <A extends unknown[]>(what: string, handler: (...args: A) => void) => (...args: A) => void;
}

/** Makes them. */
export function commonServices(parts: ServiceParts): CommonServices {
  const { top, half, mailbox } = parts;
  return {
    contract: parts.contract,
    memory: top.memory,
    mailbox: { request: mailbox.request, handle: mailbox.handle },
    events: events(parts),
    store: store(parts),
    clock: clockOf(parts),
    share: (pages, access): SharedPages => {
      half.enter('share');
      const address = top.take(pages);
      const refs = top.grant(address, pages, access === 'write');
      let released = false;
      const end = half.hold('grants', `${pages} shared pages`, () => {
        released = top.revoke(refs);
        if (released) top.give(address, pages);
      });
      return {
        address,
        pages,
        refs: refs.slice(),
        release: () => {
          end();
          if (!released && top.revoke(refs)) {
            released = true;
            top.give(address, pages);
          }
          return released;
        },
      };
    },
    log: (level, message) => {
      half.lines.push(`${level}: ${message}`);
    },
    failed: (reason) => {
      if (!half.over) half.failures.push(reason);
    },
  };
}

function clockOf({ clock, half, guard }: ServiceParts): Clock {
  return {
    now: () => clock.now(),
    after: (ms, fn) => {
      half.alive('clock.after');
      const run = guard('a timer', fn);
      const cancel = clock.after(ms, () => {
        end();
        run();
      });
      const end = half.hold('timers', `a timer of ${ms} ms`, () => cancel());
      return end;
    },
  };
}

function events({ top, half, guard }: ServiceParts): PluginEvents {
  const known = new WeakSet<EventEnd>();
  const wrap = (end: EventEnd): EventEnd => {
    const close = half.hold('channels', `event channel ${end.port}`, () => end.close());
    const own: EventEnd = {
      port: end.port,
      notify: () => {
        if (half.isOpen('notify of an event channel')) end.notify();
      },
      unmask: () => end.unmask(),
      close,
    };
    known.add(own);
    return own;
  };
  return {
    open: (handler) => {
      half.enter('events.open');
      return wrap(top.open(guard('an event handler', handler)));
    },
    bind: (remotePort, handler) => {
      half.enter('events.bind');
      return wrap(top.open(guard('an event handler', handler), remotePort));
    },
    vector: (end) => {
      if (!known.has(end)) throw new TypeError('events.vector: expected an end that open or bind answered');
      return end.port;
    },
  };
}

function store({ half, own, peer, guard }: ServiceParts): PluginStore {
  const enter = async (service: string): Promise<void> => {
    await Promise.resolve();
    half.enter(service);
  };
  return {
    read: async (name) => {
      await enter('store.read');
      return own.values.get(name) ?? null;
    },
    write: async (name, value) => {
      await enter('store.write');
      own.write(name, value);
    },
    readPeer: async (name) => {
      await enter('store.readPeer');
      return peer.values.get(name) ?? null;
    },
    watchPeer: async (name, handler) => {
      await enter('store.watchPeer');
      const watcher = { name, handler: guard('a watch', handler) };
      peer.watchers.add(watcher);
      watcher.handler();
      const end = half.hold('watches', `a watch of ${name}`, () => void peer.watchers.delete(watcher));
      return async () => {
        await Promise.resolve();
        end();
      };
    },
  };
}

/** Pages that hold this many bytes. */
export function pagesFor(bytes: number): number {
  return Math.ceil(bytes / PAGE_BYTES);
}
