/**
 * Opens the domain that this process runs in: its devices, its store, its loop, put together as a `Domain`.
 *
 * One process opens one domain, in its main thread, and serves all of its vifs with it.
 */
import { existsSync, readFileSync } from 'node:fs';
import type { LogLevel } from '@netaccel/core-hooks';
import type { DomainId, Ledger } from '../machine.js';
import { LineLimit } from '../sim/log.js';
import type { SharedMemory } from '../sim/memory.js';
import { StoreError } from '../store/error.js';
import { Device } from './abi.js';
import { Arena } from './arena.js';
import { zeroCounters } from './counters.js';
import { NativeError } from './error.js';
import { NativeEvents } from './events.js';
import { NativeForeign } from './foreign.js';
import { NativeGrants } from './grants.js';
import { LifeWatch } from './life-watch.js';
import { loadNativeLibc } from './libc.js';
import type { NativeLibc } from './libc.js';
import { DomainRounds } from './loop.js';
import { NativePages } from './pages.js';
import { NativeStore } from './store.js';
import { connectSocket, openStoreDevice } from './store-transports.js';
import type { NativeCounters, NativeDomain, NativeDomainOptions } from './types.js';

const SOCKETS = ['/run/xenstored/socket', '/var/run/xenstored/socket'];
const CAPABILITIES = '/proc/xen/capabilities';
const LARGEST_DOMAIN = 0x7fef;

/**
 * Opens the domain that this process runs in.
 *
 * ```ts
 * const domain = await openNativeDomain({ log: (level, message) => console.error(level, message) });
 * const driver = new NetbackDriver({ domain, network });
 * await driver.start();
 * // ...
 * await driver.stop();
 * domain.close();
 * ```
 *
 * @throws NativeError which says what is missing, and what to do.
 */
export async function openNativeDomain(options: NativeDomainOptions = {}): Promise<NativeDomain> {
  const libc = options.libc ?? (await loadNativeLibc());
  const counters = zeroCounters();
  const loop = new DomainRounds(libc, counters);
  const storePath = options.store ?? findStore();
  const isDevice = storePath.startsWith('/dev/') || storePath.startsWith('/proc/');
  const life = new LifeWatch();
  let store: NativeStore | undefined;
  try {
    store = await NativeStore.open({
      connect: async () => (isDevice ? openStoreDevice(libc, loop, storePath) : connectSocket(storePath)),
      clock: loop,
      onStore: (lost) => {
        if (lost === null) life.expect();
        options.onStore?.(lost);
      },
      onHandlerError: (error) => {
        queueMicrotask(() => {
          throw error;
        });
      },
    });
    const id = await readDomainId(store, isDevice);
    // Relative, so that it is this domain's whatever its number.
    if (isDevice && options.onRestored !== undefined) await life.begin(store);
    store.setHome(`/local/domain/${id}`);
    const arena = new Arena(libc, options.arenaBytes);
    const devices = openDevices(libc, arena, loop, counters);
    life.whenOver = () => {
      devices.events.abandon();
      store?.close();
      options.onRestored?.();
    };
    return new OpenDomain({ ...devices, id, arena, loop, store, storePath, counters }, options.log);
  } catch (error) {
    store?.close();
    loop.close();
    throw error;
  }
}

interface Devices {
  readonly events: NativeEvents;
  readonly foreign: NativeForeign;
  readonly grants: NativeGrants;
}

/** Opens all devices, or none. */
function openDevices(libc: NativeLibc, arena: Arena, loop: DomainRounds, counters: NativeCounters): Devices {
  const opened: { close(): void }[] = [];
  const opening = <T extends { close(): void }>(device: T): T => {
    opened.push(device);
    return device;
  };
  try {
    const events = opening(new NativeEvents(libc, arena, loop, counters));
    const foreign = opening(new NativeForeign(libc, arena, events, counters));
    return { events, foreign, grants: new NativeGrants(libc, arena, counters) };
  } catch (error) {
    for (const device of opened) device.close();
    throw error;
  }
}

/** Xenstored's socket where it runs, the kernel's device elsewhere. */
function findStore(): string {
  const named = process.env['XENSTORED_PATH'];
  if (named !== undefined && named !== '') return named;
  const socket = isControlDomain() ? SOCKETS.find((path) => existsSync(path)) : undefined;
  return socket ?? Device.store;
}

function isControlDomain(): boolean {
  try {
    return readFileSync(CAPABILITIES, 'utf8').includes('control_d');
  } catch {
    // xenfs is not mounted: a socket that is there speaks for domain 0.
    return true;
  }
}

/** The domain's number: xenstored's socket is domain 0's, and a device's relative paths are the domain's own. */
async function readDomainId(store: NativeStore, isDevice: boolean): Promise<DomainId> {
  if (!isDevice) return 0;
  const text = await store.readOptional('domid').catch((error: unknown) => {
    if (error instanceof StoreError && error.code === 'EACCES') return null;
    throw error;
  });
  const id = text !== null && /^\d{1,5}$/.test(text) ? Number(text) : -1;
  if (id >= 0 && id <= LARGEST_DOMAIN) return id;
  throw new NativeError(
    'NO_STORE',
    `expected the number of this domain in the store's key "domid", saw ${JSON.stringify(text)}; ` +
      'was this domain made by a toolstack?',
  );
}

interface Parts extends Devices {
  readonly id: DomainId;
  readonly arena: Arena;
  readonly loop: DomainRounds;
  readonly store: NativeStore;
  readonly storePath: string;
  readonly counters: NativeCounters;
}

class OpenDomain implements NativeDomain {
  readonly id: DomainId;
  readonly memory: SharedMemory;
  readonly pages: NativePages;
  readonly grants: NativeGrants;
  readonly foreign: NativeForeign;
  readonly events: NativeEvents;
  readonly store: NativeStore;
  readonly loop: DomainRounds;
  readonly counters: NativeCounters;
  readonly storePath: string;
  private readonly arena: Arena;
  private readonly lines: LineLimit;
  private closed = false;

  constructor(parts: Parts, log: NativeDomainOptions['log'] = () => undefined) {
    const { arena, loop } = parts;
    this.id = parts.id;
    this.loop = loop;
    this.store = parts.store;
    this.storePath = parts.storePath;
    this.counters = parts.counters;
    this.arena = arena;
    this.memory = arena.memory;
    this.pages = new NativePages(arena);
    this.events = parts.events;
    this.foreign = parts.foreign;
    this.grants = parts.grants;
    this.lines = new LineLimit(loop, log);
    loop.onRoundEnd = () => {
      this.events.flush();
    };
  }

  log(level: LogLevel, message: string): void {
    this.lines.log(level, message);
  }

  raise(vector: number): void {
    this.events.raise(vector);
  }

  ledger(): Ledger {
    return {
      pages: this.pages.held,
      grants: this.grants.held,
      mappings: this.foreign.held,
      ports: this.events.held,
      watches: this.store.watches,
      timers: this.loop.timers,
      tasks: this.loop.tasks,
    };
  }

  describe(): Readonly<Record<string, unknown>> {
    const { store, arena } = this;
    return {
      id: this.id,
      store: this.storePath,
      storeConnected: store.connected,
      storeReconnects: store.reconnects,
      ...this.ledger(),
      arenaFreePages: arena.freePages,
      arenaLostPages: arena.lostPages,
      counters: { ...this.counters },
    };
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.store.close();
    this.events.close();
    this.foreign.close();
    this.grants.close();
    this.loop.close();
  }
}
