/**
 * What a hostile peer does, one thing at a time, as plain data: so that a sequence can be drawn, cut down, kept in a
 * file, and run again, on a simulated machine or from a domain of a real host. `HostileFrontend` and `HostileBackend`
 * carry them out; every number may be anything, and the domain that carries them out survives.
 */

/** Which ring of a queue. */
export type RingName = 'tx' | 'rx';
/** Words of a ring's header that a peer can write. */
export const ringIndices = ['req_prod', 'req_event', 'rsp_prod', 'rsp_event'] as const;
/** One of {@link ringIndices}. */
export type RingIndex = (typeof ringIndices)[number];

/** What either end can do. */
export type PeerOperation =
  /** Writes a key of its own directory, or removes it (null), in whatever order. */
  | { readonly op: 'key'; readonly name: string; readonly value: string | null }
  /** Goes to a state, without what belongs to it. */
  | { readonly op: 'state'; readonly state: number }
  /** Writes an index word of a ring: the present value plus `by`. */
  | {
      readonly op: 'index';
      readonly queue: number;
      readonly ring: RingName;
      readonly field: RingIndex;
      readonly by: number;
    }
  /** Writes bytes over a slot, counted back from the last one that was produced: after it was published, for one. */
  | {
      readonly op: 'change';
      readonly queue: number;
      readonly ring: RingName;
      readonly back: number;
      readonly bytes: readonly number[];
    }
  /** Notifies, so often. */
  | { readonly op: 'storm'; readonly queue: number; readonly ring: RingName; readonly count: number }
  /** Closes its event channels and says nothing. */
  | { readonly op: 'hangUp' };

/** What a frontend can do. */
export type FrontendOperation =
  | PeerOperation
  /** Makes rings and channels anew, with indices from `start` on; tells nobody. */
  | { readonly op: 'open'; readonly queues: number; readonly split: boolean; readonly start: number }
  /** Writes, in one transaction, all keys that a frontend with its queues writes, and goes to Connected. */
  | { readonly op: 'connect' }
  /** Writes a transmit request; `page` names one of its own pages, or, from 1000 on, a reference that is not its own. */
  | {
      readonly op: 'request';
      readonly queue: number;
      readonly page: number;
      readonly offset: number;
      readonly flags: number;
      readonly id: number;
      readonly size: number;
    }
  /** Writes a transmit slot, byte for byte. */
  | { readonly op: 'slot'; readonly queue: number; readonly bytes: readonly number[] }
  /** Sends a packet that is as it should be. */
  | { readonly op: 'packet'; readonly queue: number; readonly length: number }
  /** Publishes what it wrote, and notifies when asked to. */
  | { readonly op: 'publish'; readonly queue: number }
  /** Posts receive buffers and publishes them. */
  | { readonly op: 'post'; readonly queue: number; readonly count: number }
  /** Takes what came. */
  | { readonly op: 'take'; readonly queue: number }
  /**
   * Asks something by the control ring: any type, any numbers. Before that it fills its page of data: with `bytes`, or
   * with static grants of its own pages, receive pages first.
   */
  | {
      readonly op: 'control';
      readonly type: number;
      readonly data: readonly [number, number, number];
      /** Which of the numbers is the reference of its page of data in place of what it says; null for none. */
      readonly reference: 0 | 1 | 2 | null;
      /** What the page holds: bytes, or so many static grants from the first page on. */
      readonly page: readonly number[] | { readonly first: number; readonly grants: number };
    }
  /** Ends the grants of pages, whether they are in use or not. */
  | { readonly op: 'revoke'; readonly queue: number; readonly what: RingName | 'rings' };

/** What a backend can do. */
export type BackendOperation =
  | PeerOperation
  /** Writes its features and goes to InitWait. */
  | { readonly op: 'advertise' }
  /** Maps the rings and binds the channels that the frontend's keys name, and goes to Connected. */
  | { readonly op: 'connect' }
  /** Takes requests; answers them properly, or never. */
  | { readonly op: 'take'; readonly queue: number; readonly answer: boolean }
  /** Writes a transmit response and publishes it; `id` is one that was seen, `back` ago, plus `by`. */
  | {
      readonly op: 'respond';
      readonly queue: number;
      readonly back: number;
      readonly by: number;
      readonly status: number;
    }
  /** Puts a packet that is as it should be on the receive ring, and publishes it. */
  | { readonly op: 'packet'; readonly queue: number; readonly length: number }
  /** Uses up a posted buffer with a response that says anything, and publishes it. */
  | {
      readonly op: 'receive';
      readonly queue: number;
      readonly id: number;
      readonly offset: number;
      readonly flags: number;
      readonly status: number;
    }
  /** Uses up a posted buffer with extra information. */
  | {
      readonly op: 'extra';
      readonly queue: number;
      readonly type: number;
      readonly more: boolean;
      readonly data: readonly number[];
    }
  /** Unmaps and unbinds, without a word. */
  | { readonly op: 'disconnect' };
