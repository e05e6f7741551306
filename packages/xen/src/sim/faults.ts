/**
 * What a test may make go wrong, at the points where real machines go wrong. The one-thread machine asks at
 * each; all are left out by default, and none costs anything then.
 */
import type { DomainId, GrantRef, Port } from '../machine.js';

/** Faults to inject. Each method may be absent: nothing goes wrong there. */
export interface Faults {
  /**
   * An event is about to be delivered to `port` of `target`.
   *
   * A hypervisor may deliver it late, merged with others or once too often, and drivers must live with that. It
   * never loses one, and no driver could live with that: `'lose'` is there to show that a check finds the stall.
   * @returns milliseconds to delay it, `'lose'`, `'double'`, or undefined.
   */
  event?(target: DomainId, port: Port): number | 'lose' | 'double' | undefined;
  /**
   * A store message is about to travel to or from `domain`.
   * @returns milliseconds to delay it and all later ones of that connection, or undefined.
   */
  storeMessage?(domain: DomainId): number | undefined;
  /**
   * `domain` maps, or copies by, a reference of `peer`.
   * @returns a status of `GrantStatus` to fail with, or undefined.
   */
  grant?(operation: 'map' | 'copy', domain: DomainId, peer: DomainId, ref: GrantRef): number | undefined;
  /** `domain` asks for pages, or for as many grants. True: there are none. */
  exhausted?(domain: DomainId, what: 'pages' | 'grants' | 'ports', count: number): boolean;
  /** Before each step of the scheduler, with its number: pause, resume or destroy a domain here. */
  step?(step: number): void;
}
