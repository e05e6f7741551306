/**
 * The array that a caller brings to `VirtualInterface.poll`: events as parallel arrays, made once, filled again
 * and again. Owned by the caller.
 */
import { event } from './layouts.js';

const REASON_BIT = event.fields.reason.bit;
const REASON_MASK = event.fields.reason.mask;

/** Room for `capacity` events; entries below what `poll` returned are valid until the next poll. */
export class EventBatch {
  /** `EventType` of each. */
  readonly type: Uint8Array;
  /** The event's first word: test with `EventFlag`. */
  readonly flags: Int32Array;
  /** Receive events: the caller's own id of the buffer. Time: nanoseconds. */
  readonly id: Int32Array;
  /** Receive events: bytes in the buffer. */
  readonly bytes: Int32Array;
  /** Receive: filter id. Transmit: the position to unbundle. Software: the value that was put. Time: seconds. */
  readonly detail: Int32Array;

  /** @param capacity events that one poll returns at most. */
  constructor(readonly capacity: number) {
    this.type = new Uint8Array(capacity);
    this.flags = new Int32Array(capacity);
    this.id = new Int32Array(capacity);
    this.bytes = new Int32Array(capacity);
    this.detail = new Int32Array(capacity);
  }

  /** The reason of a `receiveDiscard` or `transmitError`; 1 for a `link` that is up; `ClockState` bits of a `time`. */
  reason(i: number): number {
    return (this.flags[i]! >>> REASON_BIT) & REASON_MASK;
  }
}
