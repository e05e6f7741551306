/**
 * The C library calls that TAP devices and namespaces need, as a small interface, and its binding to koffi.
 *
 * koffi is an optional dependency: `loadLibc` imports it when asked. Each thread loads its own; descriptors
 * and addresses are valid in all threads of the process. Calls return what C returns: -1, and `errno()` has
 * the reason until the next call. Addresses are plain numbers (user addresses are below 2^53), because that is
 * at least as fast as BigInt and allocates nothing.
 */
import { SUPPORTED_ARCHITECTURES } from './abi.js';
import { TapError } from './error.js';

/** System calls through a foreign function library. */
export interface Libc {
  /** open(2) without O_CREAT. */
  open(path: string, flags: number): number;
  /** close(2). */
  close(descriptor: number): number;
  /** ioctl(2); `argument` is a value or an address, as the request wants. */
  ioctl(descriptor: number, request: number, argument: number): number;
  /** fcntl(2) with an integer argument. */
  fcntl(descriptor: number, command: number, argument: number): number;
  /** socket(2). */
  socket(family: number, type: number, protocol: number): number;
  /** read(2). */
  read(descriptor: number, address: number, length: number): number;
  /** write(2). */
  write(descriptor: number, address: number, length: number): number;
  /** readv(2). */
  readv(descriptor: number, vectorAddress: number, count: number): number;
  /** writev(2). */
  writev(descriptor: number, vectorAddress: number, count: number): number;
  /** sendto(2) without flags; `name` is a sockaddr. */
  sendTo(descriptor: number, address: number, length: number, name: number, nameLength: number): number;
  /** poll(2). */
  poll(descriptorsAddress: number, count: number, timeoutMs: number): number;
  /** eventfd(2). */
  eventfd(initial: number, flags: number): number;
  /** setns(2): moves the calling thread only. */
  setns(descriptor: number, kind: number): number;
  /** unshare(2): moves the calling thread only. */
  unshare(kind: number): number;
  /** execvp(3): replaces the process; returns only when it fails. */
  execvp(file: string, argv: readonly string[]): number;
  /** Why the last call of this thread failed. */
  errno(): number;
  /**
   * Where a view's memory lies. It stays there as long as its buffer is alive: a shared WebAssembly memory
   * with a fixed maximum, or a `new ArrayBuffer`, never moves. The caller keeps the buffer alive.
   */
  addressOf(view: ArrayBufferView): number;
}

/** The part of koffi's interface used here. */
interface Koffi {
  load(path: null): { func(name: string, result: string, parameters: string[]): unknown };
  address(view: ArrayBufferView): bigint;
  errno(): number;
}

let loading: Promise<Libc> | undefined;

/**
 * The C library of this process, loaded on the first call in each thread.
 * @throws TapError `UNSUPPORTED_PLATFORM`, `NO_KOFFI`.
 */
export function loadLibc(): Promise<Libc> {
  loading ??= importKoffi().then(bindLibc);
  return loading;
}

async function importKoffi(): Promise<Koffi> {
  if (process.platform !== 'linux' || !SUPPORTED_ARCHITECTURES.includes(process.arch)) {
    throw new TapError(
      'UNSUPPORTED_PLATFORM',
      `TAP devices and network namespaces need Linux on ${SUPPORTED_ARCHITECTURES.join(', ')}; this is ` +
        `${process.platform} on ${process.arch}. Run the lab in its frames mode, which needs neither.`,
    );
  }
  try {
    return (await import('koffi')).default;
  } catch (error) {
    throw new TapError(
      'NO_KOFFI',
      'Expected the optional package koffi, which calls the C library; importing it failed: ' +
        `${error instanceof Error ? error.message : String(error)}. Run "npm install koffi".`,
    );
  }
}

function bindLibc(koffi: Koffi): Libc {
  const library = koffi.load(null);
  const bind = (name: string, result: string, ...parameters: string[]): unknown =>
    library.func(name, result, parameters);
  type One = (a: number) => number;
  type Two = (a: number, b: number) => number;
  type Three = (a: number, b: number, c: number) => number;
  // 'size_t' stands for addresses: koffi then takes a plain number.
  const execvp = bind('execvp', 'int', 'str', 'const char **') as (
    file: string,
    argv: (string | null)[],
  ) => number;
  const sendto = bind('sendto', 'long', 'int', 'size_t', 'size_t', 'int', 'size_t', 'uint') as (
    ...values: number[]
  ) => number;
  return {
    open: bind('open', 'int', 'str', 'int') as Libc['open'],
    close: bind('close', 'int', 'int') as One,
    ioctl: bind('ioctl', 'int', 'int', 'size_t', 'size_t') as Three,
    fcntl: bind('fcntl', 'int', 'int', 'int', 'int') as Three,
    socket: bind('socket', 'int', 'int', 'int', 'int') as Three,
    read: bind('read', 'long', 'int', 'size_t', 'size_t') as Three,
    write: bind('write', 'long', 'int', 'size_t', 'size_t') as Three,
    readv: bind('readv', 'long', 'int', 'size_t', 'int') as Three,
    writev: bind('writev', 'long', 'int', 'size_t', 'int') as Three,
    sendTo: (descriptor, address, length, name, nameLength) =>
      sendto(descriptor, address, length, 0, name, nameLength),
    poll: bind('poll', 'int', 'size_t', 'size_t', 'int') as Three,
    eventfd: bind('eventfd', 'int', 'uint', 'int') as Two,
    setns: bind('setns', 'int', 'int', 'int') as Two,
    unshare: bind('unshare', 'int', 'int') as One,
    execvp: (file, argv) => execvp(file, [...argv, null]),
    errno: () => koffi.errno(),
    addressOf: (view) => {
      // A view over the whole buffer: Node 20 refuses a bare SharedArrayBuffer, and koffi wants a typed array.
      return Number(koffi.address(new Uint8Array(view.buffer, view.byteOffset, view.byteLength)));
    },
  };
}
