/**
 * What the kit judges: the two halves of a plugin, and a bench, which is the device that they drive with both its ends
 * in the kit's hands. Written by whoever tests a plugin; `@netaccel/nic-vi/testing` has the bench of our NIC.
 */
import type { BackendAcceleratorDefinition } from '../backend.js';
import type { FrontendAcceleratorDefinition } from '../frontend.js';
import type { Address, Memory } from '../memory.js';
import type { Clock } from '../services.js';

/** What a bench is made of: the machine that its device is plugged into. */
export interface BenchMachine {
  /** The machine's memory: both domains', as the device sees it. */
  readonly memory: Memory;
  /** Time, moved by the kit. */
  readonly clock: Clock;
  /** Pages for the device's own state, zeroed, never given back. */
  allocate(pages: number): Address;
  /** Raises the interrupt that `events.vector` gave the number of. */
  raise(vector: number): void;
}

/** Who got a frame that arrived from the wire: a guest, past the driver domain, or the driver domain. */
export type Receiver = 'guest' | 'driver';

/**
 * What can go wrong with a plugin's queues. `events`: the event queue is full, and what the device would report next
 * is lost or waits. `rights`: the device refuses the next frame, as if it lay in memory that is not the plugin's.
 */
export type BenchFault = 'events' | 'rights';

/** A device, and the wire that it is on. */
export interface Bench {
  /** What a back half finds as `port.device`. */
  readonly device: unknown;
  /**
   * A frame arrives from the wire. `guest` when the device led it to a plugin, whatever became of it there; `driver`
   * when nobody claimed it: the kit then carries it over the slow path.
   */
  arrive(bytes: Uint8Array): Receiver;
  /** Frames that left on the wire since the last call, in order. */
  takeSent(): Uint8Array[];
  /** While it is held the device sends nothing that is posted; let go, it sends all of it. */
  holdTransmit(held: boolean): void;
  /** Brings the link up or down. The kit tells who watches the port. */
  setLink(up: boolean): void;
  /** Resets the device: what was allocated on it is gone. The kit tells who watches the port. */
  reset(): void;
  /** A register page that a guest has mapped was written at `address`; left out when the device has none. */
  registerWritten?(address: Address): void;
  /**
   * Makes it go wrong, at each queue that a plugin has now. False when this device knows no such fault; left out when
   * it knows none: what the kit holds a plugin to in that case is not tested.
   */
  fault?(kind: BenchFault): boolean;
  /** What plugins have of the device, by kind, all 0 when they have nothing: `{ vis: 1, filters: 2 }`. */
  resources(): Readonly<Record<string, number>>;
}

/** A plugin, and the device for it. */
export interface ConformanceSubject {
  /** The half that a guest loads. */
  readonly frontend: FrontendAcceleratorDefinition;
  /** The half that a driver domain loads. */
  readonly backend: BackendAcceleratorDefinition;
  /** Makes the device: called for each check, and what it makes is thrown away after it. */
  bench(machine: BenchMachine): Bench;
}

/** Makes what is judged. Called once when the checks are listed, and once for each check. */
export type ConformanceFactory = () => ConformanceSubject;
