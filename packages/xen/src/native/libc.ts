/**
 * The C library calls that a real Xen host's devices need, as a small interface, and its binding to koffi.
 *
 * koffi is an optional dependency: `loadNativeLibc` imports it when asked. Calls return what C returns: -1, and
 * `errno()` has the reason until the next call. Addresses are plain numbers (user addresses are below 2^53).
 */
import { PollEvent, POLLFD, SUPPORTED_ARCHITECTURES } from './abi.js';
import { NativeError } from './error.js';

/** System calls through a foreign function library. */
export interface NativeLibc {
  /** open(2) without O_CREAT. */
  open(path: string, flags: number): number;
  /** close(2). */
  close(descriptor: number): number;
  /** ioctl(2); `argument` is a value or an address, as the request wants. */
  ioctl(descriptor: number, request: number, argument: number): number;
  /** read(2). */
  read(descriptor: number, address: number, length: number): number;
  /** write(2). */
  write(descriptor: number, address: number, length: number): number;
  /** mmap(2): the address, or -1. */
  mmap(
    address: number,
    length: number,
    protection: number,
    flags: number,
    descriptor: number,
    offset: number,
  ): number;
  /** Why the last call of this thread failed. */
  errno(): number;
  /** Where a view's memory lies; the caller keeps its buffer alive. */
  addressOf(view: ArrayBufferView): number;
  /**
   * Makes a poll of `descriptor`, not yet started. `ready` is called from inside of the event loop, outside of
   * any turn of JavaScript: it may only note what happened and schedule the rest.
   */
  poll(descriptor: number, ready: () => void): DescriptorPoll;
}

/** A descriptor in the event loop: while started, `ready` is called as long as it can be read or has failed. */
export interface DescriptorPoll {
  /** Begins, or goes on. Idempotent. */
  start(): void;
  /** Pauses. Idempotent. */
  stop(): void;
  /** Ends it, before the descriptor is closed. Idempotent. */
  close(): void;
}

/** A function of a library. */
type Bound = (...values: unknown[]) => unknown;

/** The part of koffi's interface used here. */
export interface KoffiLike {
  load(path: null): { func(name: string, result: string, parameters: unknown[]): Bound };
  address(view: ArrayBufferView): bigint;
  errno(): number;
  proto(text: string): unknown;
  pointer(type: unknown): unknown;
  register(callback: (...values: never[]) => unknown, type: unknown): unknown;
}

/** How long a fallback's thread sleeps at most: how late the process may end. */
const FALLBACK_SLEEP_MS = 1000;
/** uv.h `UV_POLL`, `UV_READABLE`: stable since libuv 1.0. */
const UV_POLL = 8;
const UV_READABLE = 1;

let loading: Promise<NativeLibc> | undefined;

/**
 * The C library of this process, loaded on the first call.
 * @throws NativeError `UNSUPPORTED_PLATFORM`, `NO_KOFFI`.
 */
export function loadNativeLibc(): Promise<NativeLibc> {
  loading ??= load();
  return loading;
}

async function load(): Promise<NativeLibc> {
  const { isMainThread } = await import('node:worker_threads');
  return bindLibc(await importKoffi(), isMainThread);
}

async function importKoffi(): Promise<KoffiLike> {
  if (process.platform !== 'linux' || !SUPPORTED_ARCHITECTURES.includes(process.arch))
    throw new NativeError(
      'UNSUPPORTED_PLATFORM',
      `a domain of a real Xen host needs Linux on ${SUPPORTED_ARCHITECTURES.join(' or ')}; this is ` +
        `${process.platform} on ${process.arch}. Use a lab instead: "netaccel up".`,
    );
  try {
    return (await import('koffi')).default;
  } catch (error) {
    throw new NativeError(
      'NO_KOFFI',
      'expected the optional package koffi, which calls the C library; importing it failed: ' +
        `${error instanceof Error ? error.message : String(error)}. Run "npm install koffi".`,
    );
  }
}

/**
 * Binds the calls.
 * @param isMainThread the main thread's event loop can poll descriptors; elsewhere a thread of the pool does.
 */
export function bindLibc(koffi: KoffiLike, isMainThread: boolean): NativeLibc {
  const library = koffi.load(null);
  // 'size_t' stands for addresses: koffi then takes and gives a plain number.
  const bind = (name: string, result: string, ...parameters: string[]): unknown =>
    library.func(name, result, parameters);
  return {
    open: bind('open', 'int', 'str', 'int') as NativeLibc['open'],
    close: bind('close', 'int', 'int') as NativeLibc['close'],
    ioctl: bind('ioctl', 'int', 'int', 'size_t', 'size_t') as NativeLibc['ioctl'],
    read: bind('read', 'long', 'int', 'size_t', 'size_t') as NativeLibc['read'],
    write: bind('write', 'long', 'int', 'size_t', 'size_t') as NativeLibc['write'],
    mmap: bind('mmap', 'long', 'size_t', 'size_t', 'int', 'int', 'int', 'long') as NativeLibc['mmap'],
    errno: () => koffi.errno(),
    // A typed array: koffi takes no bare SharedArrayBuffer.
    addressOf: (view) => Number(koffi.address(new Uint8Array(view.buffer, view.byteOffset, view.byteLength))),
    poll: (isMainThread ? loopPolls(koffi, bind) : undefined) ?? threadPolls(koffi, bind),
  };
}

type Bind = (name: string, result: string, ...parameters: string[]) => unknown;

/**
 * Polls by libuv's own `uv_poll`, which every build of Node exports for its addons: the descriptor joins the event
 * loop's one `epoll`. Undefined where the program does not export it.
 */
function loopPolls(koffi: KoffiLike, bind: Bind): NativeLibc['poll'] | undefined {
  const byHandle = new Map<number, () => void>();
  try {
    const loop = (bind('uv_default_loop', 'size_t') as () => number)();
    const size = (bind('uv_handle_size', 'size_t', 'int') as (kind: number) => number)(UV_POLL);
    const calloc = bind('calloc', 'size_t', 'size_t', 'size_t') as (count: number, size: number) => number;
    const init = bind('uv_poll_init', 'int', 'size_t', 'size_t', 'int') as (...values: number[]) => number;
    const start = bind('uv_poll_start', 'int', 'size_t', 'int', 'void *') as (
      handle: number,
      events: number,
      callback: unknown,
    ) => number;
    const stop = bind('uv_poll_stop', 'int', 'size_t') as (handle: number) => number;
    const close = bind('uv_close', 'void', 'size_t', 'void *') as (handle: number, callback: null) => void;
    const type = koffi.pointer(
      koffi.proto('void NetaccelPollCallback(size_t handle, int status, int events)'),
    );
    const callback = koffi.register((handle: number) => byHandle.get(handle)?.(), type);
    return (descriptor, ready) => {
      // Never freed: libuv still looks at it after the close, and there are few.
      const handle = calloc(1, size);
      const failed = init(loop, handle, descriptor);
      if (failed < 0) throw unpollable(descriptor, -failed);
      byHandle.set(handle, ready);
      let open = true;
      return {
        start: () => {
          if (open) start(handle, UV_READABLE, callback);
        },
        stop: () => {
          if (open) stop(handle);
        },
        close: () => {
          if (!open) return;
          open = false;
          byHandle.delete(handle);
          close(handle, null);
        },
      };
    };
  } catch (error) {
    if (error instanceof NativeError) throw error;
    return undefined;
  }
}

function unpollable(descriptor: number, errno: number): NativeError {
  return new NativeError(
    'SYSTEM_CALL',
    `descriptor ${descriptor} cannot be polled: libuv answered ${errno}; expected a device, pipe or socket`,
  );
}

/** Polls in a thread of the pool, again and again: for worker threads. The process can end within a second. */
function threadPolls(koffi: KoffiLike, bind: Bind): NativeLibc['poll'] {
  const poll = bind('poll', 'int', 'size_t', 'size_t', 'int') as {
    async(address: number, count: number, timeoutMs: number, done: (error: unknown, n: number) => void): void;
  };
  return (descriptor, ready) => {
    const asked = new DataView(new ArrayBuffer(POLLFD.sizeBytes));
    const address = Number(koffi.address(new Uint8Array(asked.buffer)));
    let wanted = false;
    let busy = false;
    const look = (): void => {
      if (busy || !wanted) return;
      busy = true;
      asked.setInt32(POLLFD.descriptorAt, descriptor, true);
      asked.setInt16(POLLFD.eventsAt, PollEvent.readable, true);
      poll.async(address, 1, FALLBACK_SLEEP_MS, () => {
        busy = false;
        if (wanted && asked.getInt16(POLLFD.answeredAt, true) !== 0) ready();
        // The next look comes after whoever was told had a turn to read.
        setImmediate(look);
      });
    };
    return {
      start: () => {
        wanted = true;
        look();
      },
      stop: () => {
        wanted = false;
      },
      close: () => {
        wanted = false;
      },
    };
  };
}
