/**
 * Event channels of one domain: its handlers, and the delivery of what is pending. The tables themselves are in
 * shared memory (port-tables.ts); only this domain's thread is in here.
 */
import { MachineError } from '../machine.js';
import type { DomainId, EventChannel, EventChannels, Port } from '../machine.js';
import type { Clock } from '@netaccel/core-hooks';
import { SpuriousDelay } from '../spurious.js';
import type { DomainContext } from './context.js';

/** Bits of a vector that are the port. */
const PORT_BITS = 12;

/** A domain's event channels. */
export class SimEvents implements EventChannels {
  /** Open ports now. */
  held = 0;
  /** Events whose handler was called. */
  delivered = 0;
  /** Events held back because their channel's handler found no work too often. */
  throttled = 0;
  private readonly channels: (SimEventChannel | null)[];
  private readonly free: number[] = [];
  private readonly deliverOne = (port: number): void => {
    const channel = this.channels[port];
    if (channel === null || channel === undefined) return;
    this.delivered++;
    channel.handler();
  };

  constructor(
    private readonly at: DomainContext,
    private readonly clock: Clock,
  ) {
    const { ports } = at.lab.plan.shape;
    this.channels = Array.from({ length: ports }, () => null);
    for (let port = ports - 1; port > 0; port--) this.free.push(port);
  }

  /** Opens a port that `peer` may bind. */
  allocateUnbound(peer: DomainId, handler: () => void): EventChannel {
    const port = this.takePort();
    this.at.lab.ports.open(this.at.slot, port, peer);
    return this.add(port, handler);
  }

  /** Binds a port that `peer` opened for this domain; the local side is pending at once. */
  bindInterdomain(peer: DomainId, remote: Port, handler: () => void): EventChannel {
    const { lab, slot, id, host } = this.at;
    const port = this.takePort();
    const channel = this.add(port, handler);
    try {
      lab.ports.bind(slot, port, id, lab.find(host, peer), peer, remote);
    } catch (error) {
      channel.close();
      throw error;
    }
    return channel;
  }

  /**
   * A number that a device raises to notify the other end of `channel`.
   *
   * It names the local end: raising it does what `channel.notify()` does, from any thread. So it may be taken
   * before the peer bound its end, and a vector whose channel was closed raises nothing.
   */
  vector(channel: EventChannel): number {
    return (this.at.slot << PORT_BITS) | channel.port;
  }

  /** Calls the handlers of what is pending. */
  deliver(): void {
    this.at.lab.ports.take(this.at.slot, this.deliverOne);
  }

  /** {@link EventChannel.notify} */
  notify(port: Port): void {
    this.at.lab.ports.notify(this.at.slot, port);
  }

  /** Lets a port's events through. */
  letThrough(port: Port): void {
    this.at.lab.ports.unmask(this.at.slot, port);
  }

  /** {@link EventChannel.close} */
  close(port: Port): void {
    this.at.lab.ports.close(this.at.slot, port);
    this.channels[port] = null;
    this.free.push(port);
    this.held--;
  }

  private add(port: number, handler: () => void): SimEventChannel {
    const channel = new SimEventChannel(this, this.clock, port, handler);
    this.channels[port] = channel;
    this.held++;
    return channel;
  }

  private takePort(): number {
    const none = this.at.faults.exhausted?.(this.at.id, 'ports', 1) === true;
    const port = none ? undefined : this.free.pop();
    if (port === undefined)
      throw new MachineError(
        'NO_PORTS',
        `domain ${this.at.id} has all ${this.channels.length} ports in use; close some, or raise shape.ports`,
      );
    return port;
  }
}

/** The number that {@link SimEvents.vector} made, taken apart. */
export function parseVector(vector: number): { slot: number; port: number } {
  return { slot: vector >>> PORT_BITS, port: vector & ((1 << PORT_BITS) - 1) };
}

/** One open port. */
export class SimEventChannel implements EventChannel {
  private open = true;
  private readonly delay: SpuriousDelay;

  constructor(
    private readonly events: SimEvents,
    clock: Clock,
    /** The local port. */
    readonly port: Port,
    /** Called for each event. */
    readonly handler: () => void,
  ) {
    this.delay = new SpuriousDelay(clock, () => {
      events.letThrough(port);
    });
  }

  /** Notifies the other end. */
  notify(): void {
    if (this.open) this.events.notify(this.port);
  }

  /** Lets events through again; a channel whose events are `spurious` too often, later and later. */
  unmask(spurious = false): void {
    if (this.open && this.delay.unmask(spurious)) this.events.throttled++;
  }

  /** Closes it. Idempotent. */
  close(): void {
    if (!this.open) return;
    this.open = false;
    this.delay.cancel();
    this.events.close(this.port);
  }
}
