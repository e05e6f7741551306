/**
 * Points in the receive stream that somebody waits for: resolved when every frame that was in the driver at the
 * call is on the guest's rings, or was dropped and counted.
 *
 * A backend plugin puts its first filter for a flow behind such a point, so that the flow's last slow frame is
 * delivered before its first fast one. Checked when frames leave a backlog; never on the frame path otherwise.
 */
import type { ReceiveFence } from '@netaccel/core-hooks';

/** A queue's receive half as a fence sees it. */
export interface FencedStream {
  /** Frames that ever went to its backlog. */
  readonly queuedTotal: number;
  /** Frames that ever left it. */
  readonly leftTotal: number;
  /** Response index of its ring: what is below it is published. */
  readonly published: number;
  /** Publishes what is lined up. */
  flush(): void;
}

/** The connection went before the fence was passed. */
export class FenceClosedError extends Error {
  /** Stable code for programs. */
  readonly code = 'FENCE_CLOSED';
  constructor() {
    super(
      'the vif was disconnected before all earlier frames were on its rings; there is no slow path to wait for',
    );
    this.name = 'FenceClosedError';
  }
}

interface Waiter {
  /** By queue: `queuedTotal` at the call. */
  readonly marks: readonly number[];
  resolve(fence: ReceiveFence): void;
  reject(error: Error): void;
}

/** The fences of one connection. */
export class Fences {
  private readonly streams: FencedStream[] = [];
  private waiters: Waiter[] = [];
  private closed = false;

  /** One more queue. */
  add(stream: FencedStream): void {
    this.streams.push(stream);
  }

  /** Resolves to the response index of each queue. @throws FenceClosedError when the connection goes first. */
  wait(): Promise<ReceiveFence> {
    if (this.closed) return Promise.reject(new FenceClosedError());
    for (const stream of this.streams) stream.flush();
    return new Promise((resolve, reject) => {
      this.waiters.push({ marks: this.streams.map((stream) => stream.queuedTotal), resolve, reject });
      this.check();
    });
  }

  /** Resolves what has been passed. */
  check(): void {
    if (this.waiters.length === 0) return;
    this.waiters = this.waiters.filter((waiter) => {
      if (this.streams.some((stream, i) => stream.leftTotal < waiter.marks[i]!)) return true;
      waiter.resolve(this.streams.map((stream) => stream.published));
      return false;
    });
  }

  /** Rejects what waits. */
  close(): void {
    this.closed = true;
    for (const waiter of this.waiters.splice(0)) waiter.reject(new FenceClosedError());
  }
}
