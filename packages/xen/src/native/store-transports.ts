/**
 * The two ways to the store of a real host: xenstored's Unix socket, in the domain that runs it, and the kernel's
 * xenbus device, in every domain. Both are streams of the wire protocol; each connection is its transport's own.
 */
import type { Socket } from 'node:net';
import { connect } from 'node:net';
import type { StoreTransport } from '../store/transport.js';
import { encodeMessage, MessageDecoder, MessageType } from '../store/wire.js';
import type { Message } from '../store/wire.js';
import { errnoName, NativeError } from './error.js';
import { openDevice } from './devices.js';
import type { NativeLibc } from './libc.js';
import type { DomainRounds } from './loop.js';
import type { Interest } from './types.js';

const BREACH = 'the other end does not speak the xenstore protocol';
/** One message: a header of 16 bytes and 4096 of payload, rounded up. */
const BUFFER_BYTES = 8192;

/** What both have: whole messages out of a stream, kept until somebody takes them. */
abstract class StreamTransport implements StoreTransport {
  protected closed = false;
  private readonly decoder = new MessageDecoder();
  private readonly early: Uint8Array[] = [];
  private handler: ((message: Uint8Array) => void) | null = null;
  private lost: string | null = null;
  private closedHandler: ((reason: string) => void) | null = null;

  abstract send(message: Uint8Array): void;
  protected abstract release(): void;

  onMessage(handler: (message: Uint8Array) => void): void {
    this.handler = handler;
    for (const message of this.early.splice(0)) handler(message);
  }

  onClosed(handler: (reason: string) => void): void {
    this.closedHandler = handler;
    if (this.lost !== null) handler(this.lost);
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.release();
  }

  /** Bytes came. */
  protected received(bytes: Uint8Array): void {
    const intact = this.decoder.push(bytes, (message: Message) => {
      if (message.type !== MessageType.WATCH_EVENT) this.answered();
      const whole = encodeMessage(message);
      if (this.handler === null) this.early.push(whole);
      else this.handler(whole);
    });
    if (!intact) this.end(BREACH);
  }

  /** A request was answered. */
  protected answered(): void {
    return;
  }

  /** The other side ended it. */
  protected end(reason: string): void {
    if (this.closed) return;
    this.close();
    this.lost = reason;
    this.closedHandler?.(reason);
  }
}

/** xenstored's socket. */
class SocketTransport extends StreamTransport {
  constructor(
    private readonly socket: Socket,
    path: string,
  ) {
    super();
    socket.on('data', (bytes) => {
      this.received(bytes);
    });
    socket.on('error', (error) => {
      this.end(`${path}: ${error.message}`);
    });
    socket.on('close', () => {
      this.end(`${path}: xenstored closed the connection`);
    });
  }

  send(message: Uint8Array): void {
    if (!this.closed) this.socket.write(message);
  }

  protected release(): void {
    this.socket.destroy();
  }
}

/**
 * The kernel's device. One request at a time: the kernel leaves a request's payload in the one buffer of the open file
 * until a thread of its own has put it on the ring (Linux, drivers/xen/xenbus: `xenbus_dev_request_and_reply`), so a
 * second one before the answer would overwrite the first.
 */
class DeviceTransport extends StreamTransport {
  private readonly interest: Interest;
  private readonly incoming = new Uint8Array(new ArrayBuffer(BUFFER_BYTES));
  /** Of its own: while what came is gone through, a watch's handler may send. */
  private readonly outgoing = new Uint8Array(new ArrayBuffer(BUFFER_BYTES));
  private readonly incomingAddress: number;
  private readonly outgoingAddress: number;
  private readonly waiting: Uint8Array[] = [];
  private underWay = false;

  constructor(
    private readonly libc: NativeLibc,
    loop: DomainRounds,
    private readonly path: string,
  ) {
    super();
    this.incomingAddress = libc.addressOf(this.incoming);
    this.outgoingAddress = libc.addressOf(this.outgoing);
    this.descriptor = openDevice(libc, path);
    this.interest = loop.whenReadable(this.descriptor, () => {
      this.read();
    });
  }

  private readonly descriptor: number;

  send(message: Uint8Array): void {
    if (this.closed) return;
    this.waiting.push(message);
    if (!this.underWay) this.next();
  }

  protected override answered(): void {
    this.underWay = false;
    this.next();
  }

  private next(): void {
    const message = this.waiting.shift();
    if (message === undefined || this.closed) return;
    this.underWay = true;
    this.outgoing.set(message);
    const put = this.libc.write(this.descriptor, this.outgoingAddress, message.length);
    if (put !== message.length) this.end(`${this.path}: a request was not taken (${this.why(put)})`);
  }

  protected release(): void {
    this.interest.close();
    this.libc.close(this.descriptor);
  }

  /** The loop calls again while there is more. */
  private read(): void {
    const got = this.libc.read(this.descriptor, this.incomingAddress, BUFFER_BYTES);
    if (got > 0) {
      this.received(this.incoming.subarray(0, got));
      return;
    }
    const why = this.why(got);
    if (why !== 'EAGAIN' && why !== 'EINTR') this.end(`${this.path}: ${why}`);
  }

  private why(result: number): string {
    return result < 0 ? errnoName(this.libc.errno()) : 'it ended';
  }
}

/** Connects to xenstored's socket. @throws NativeError `NO_STORE`, `NO_RIGHT`. */
export function connectSocket(path: string): Promise<StoreTransport> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    const fail = (error: NodeJS.ErrnoException): void => {
      const { code = error.message } = error;
      const isRight = code === 'EACCES' || code === 'EPERM';
      reject(
        new NativeError(
          isRight ? 'NO_RIGHT' : 'NO_STORE',
          `expected xenstored at ${path}; connecting failed: ${code}. ` +
            (isRight ? 'Run as root.' : 'Start xenstored, or name its socket in XENSTORED_PATH.'),
          code,
        ),
      );
    };
    socket.once('error', fail);
    socket.once('connect', () => {
      socket.removeListener('error', fail);
      resolve(new SocketTransport(socket, path));
    });
  });
}

/** Opens the kernel's device. @throws NativeError. */
export function openStoreDevice(libc: NativeLibc, loop: DomainRounds, path: string): StoreTransport {
  return new DeviceTransport(libc, loop, path);
}
