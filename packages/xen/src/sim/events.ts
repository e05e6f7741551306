/**
 * Event channels of one domain: its handlers, and the delivery of what is pending. The tables themselves are in
 * shared memory (port-tables.ts); only this domain's thread is in here.
 */
import { MachineError } from '../machine.js';
import type { DomainId, EventChannel, EventChannels, Port } from '../machine.js';
import type { Clock } from '@netaccel/core-hooks';
import { SpuriousDelay } from '../spurious.js';
import type { DomainContext } from './context.js';
import type { EventChannelForm } from './event-delivery.js';
import { FifoGuest } from './fifo-guest.js';
import { vectorOf } from './port-tables.js';

/** A domain's event channels. */
export class SimEvents implements EventChannels {
  /** Open ports now. */
  held = 0;
  /** Events whose handler was called. */
  delivered = 0;
  /** Events held back because their channel's handler found no work too often. */
  throttled = 0;
  private readonly fifo: FifoGuest | null;
  private readonly channels: (SimEventChannel | null)[];
  private readonly free: number[] = [];
  private unused = 1;
  private readonly deliverOne = (port: number): void => {
    const channel = this.channels[port];
    if (channel === null || channel === undefined) return;
    this.delivered++;
    channel.handler();
  };

  /**
   * @param at where the domain is.
   * @param clock its clock.
   * @param form what it asks its hypervisor for; without the memory for FIFO it goes on with 2-level.
   */
  constructor(
    private readonly at: DomainContext,
    private readonly clock: Clock,
    form: EventChannelForm = '2-level',
  ) {
    this.fifo = form === 'fifo' ? fifoGuest(at) : null;
    this.channels = Array.from({ length: at.lab.ports.limit(at.slot) }, () => null);
  }

  /** The form that is in use. */
  get form(): EventChannelForm {
    return this.fifo === null ? '2-level' : 'fifo';
  }

  /** Opens a port that `peer` may bind. */
  allocateUnbound(peer: DomainId, handler: () => void): SimEventChannel {
    const port = this.takePort();
    this.at.lab.ports.open(this.at.slot, port, peer);
    return this.add(port, handler);
  }

  /** Binds a port that `peer` opened for this domain; the local side is pending at once. */
  bindInterdomain(peer: DomainId, remote: Port, handler: () => void): SimEventChannel {
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
    return vectorOf(this.at.slot, channel.port);
  }

  /** Calls the handlers of what is pending. */
  deliver(): void {
    const { lab, slot } = this.at;
    if (this.fifo === null) lab.ports.twoLevel.take(slot, this.deliverOne);
    else {
      lab.ports.fifo.enter(slot);
      this.fifo.take(this.deliverOne);
    }
  }

  /** Sets a port's priority: 0 goes first, 15 last. False where ports have none: 2-level. */
  setPriority(port: Port, priority: number): boolean {
    if (this.fifo !== null) this.at.lab.ports.fifo.setPriority(this.at.slot, port, priority);
    return this.fifo !== null;
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
    const most = this.channels.length;
    if (none || (this.free.length === 0 && this.unused >= most))
      throw new MachineError(
        'NO_PORTS',
        `domain ${this.at.id} has all ${most} ports in use that ${this.form} event channels have here; close some` +
          (most < this.at.lab.plan.shape.ports ? ', or make it with FIFO' : ', or raise shape.ports'),
      );
    const port = this.free.pop();
    if (port !== undefined) return port;
    this.fifo?.prepare(this.unused);
    return this.unused++;
  }
}

/** FIFO, or null when there is no memory for it: a kernel goes on with 2-level then. */
function fifoGuest(at: DomainContext): FifoGuest | null {
  try {
    return new FifoGuest(at);
  } catch (error) {
    if (error instanceof MachineError && error.code === 'NO_MEMORY') return null;
    throw error;
  }
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

  /**
   * Its priority from its next event on: 0 goes before all others, 15 after, 7 when nothing is said.
   * @returns false where ports have no priority: 2-level event channels.
   */
  setPriority(priority: number): boolean {
    return this.open && this.events.setPriority(this.port, priority);
  }

  /** Closes it. Idempotent. */
  close(): void {
    if (!this.open) return;
    this.open = false;
    this.delay.cancel();
    this.events.close(this.port);
  }
}
