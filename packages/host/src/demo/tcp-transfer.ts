/** One TCP transfer between two processes in two namespaces, as the demo and the benchmarks watch it. */
import type { ChildProcess } from 'node:child_process';
import { execPath } from 'node:process';
import { createInterface } from 'node:readline';
import type { NetworkNamespace } from '../tap/index.js';
import type { Check } from '../traffic/frame-check.js';

const PORT = 5201;
/** How long the receiver has to begin, and both ends to finish after the sender's time is up. */
const PATIENCE_MS = 10_000;

interface PeerLine {
  readonly event: 'listening' | 'progress' | 'end' | 'error';
  readonly bytes?: number;
  readonly seconds?: number;
  readonly corrupted?: number;
  readonly message?: string;
}

/** What a transfer moved. */
export interface TransferResult {
  readonly seconds: number;
  readonly bytes: number;
  /** Bytes, not frames. */
  readonly check: Check;
}

/** A running transfer. */
export class TcpTransfer {
  /** Bytes that the receiver has compared so far. */
  received = 0;
  /** Resolves when both processes have ended well. */
  readonly ended: Promise<TransferResult>;
  private corrupted = 0;

  private constructor(
    private readonly receiver: ChildProcess,
    private readonly sender: ChildProcess,
    timeoutMs: number,
  ) {
    this.ended = this.follow(timeoutMs);
    this.ended.catch(() => undefined); // whoever awaits it is told
  }

  /**
   * Starts a receiver in `to`, then a sender in `from` that sends for `seconds`.
   * @param program path of the built tcp-peer.
   * @param address of the receiver.
   */
  static async start(
    program: string,
    from: NetworkNamespace,
    to: NetworkNamespace,
    address: string,
    seconds: number,
  ): Promise<TcpTransfer> {
    const stdio = ['ignore', 'pipe', 'inherit'] as ['ignore', 'pipe', 'inherit'];
    const receiver = to.spawn(execPath, [program, 'receive', String(PORT)], { stdio });
    await listening(receiver);
    const sender = from.spawn(execPath, [program, 'send', address, String(PORT), String(seconds)], { stdio });
    return new TcpTransfer(receiver, sender, seconds * 1000 + PATIENCE_MS);
  }

  /** The outcome so far: nothing that was sent is missing while the connection stands. */
  check(): Check {
    return {
      sent: this.received,
      received: this.received,
      lost: 0,
      duplicated: 0,
      reordered: 0,
      corrupted: this.corrupted,
    };
  }

  private async follow(timeoutMs: number): Promise<TransferResult> {
    const timer = setTimeout(() => {
      this.sender.kill('SIGKILL');
      this.receiver.kill('SIGKILL');
    }, timeoutMs);
    try {
      const [received, sent] = await Promise.all([this.lastLine(this.receiver), this.lastLine(this.sender)]);
      const bytes = received.bytes ?? 0;
      const all = sent.bytes ?? 0;
      return {
        seconds: received.seconds ?? 0,
        bytes,
        check: {
          sent: all,
          received: bytes,
          lost: all - bytes,
          duplicated: 0,
          reordered: 0,
          corrupted: received.corrupted ?? 0,
        },
      };
    } finally {
      clearTimeout(timer);
    }
  }

  private async lastLine(peer: ChildProcess): Promise<PeerLine> {
    const who = peer === this.sender ? 'sender' : 'receiver';
    for await (const text of createInterface({ input: peer.stdout! })) {
      const line = JSON.parse(text) as PeerLine;
      if (line.event === 'error')
        throw new Error(`the TCP ${who} failed: ${line.message ?? 'no reason given'}`);
      if (peer === this.receiver) {
        this.received = line.bytes ?? this.received;
        this.corrupted = line.corrupted ?? this.corrupted;
      }
      if (line.event === 'end') return line;
    }
    throw new Error(`the TCP ${who} ended without a result; the connection did not come through in time`);
  }
}

function listening(receiver: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      receiver.kill('SIGKILL');
      reject(new Error(`the TCP receiver did not listen within ${PATIENCE_MS} ms`));
    }, PATIENCE_MS);
    const tooEarly = (code: number | null): void => {
      clearTimeout(timer);
      reject(new Error(`the TCP receiver ended with ${String(code)} before it listened`));
    };
    receiver.once('exit', tooEarly);
    receiver.stdout!.once('readable', () => {
      clearTimeout(timer);
      receiver.off('exit', tooEarly);
      resolve();
    });
  });
}
