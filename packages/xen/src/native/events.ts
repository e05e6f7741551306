/**
 * Event channels by /dev/xen/evtchn, one descriptor for all of a domain's.
 *
 * The kernel masks a port when its event arrives and hands out its number by `read`; writing the number unmasks it
 * (late acknowledge, XSA-332). Notifications and unmasks are put off until the round's end: several notifications of
 * a channel are one, and all unmasks are one `write`.
 */
import { PAGE_BYTES } from '@netaccel/core-hooks';
import type { Address } from '@netaccel/core-hooks';
import { MachineError } from '../machine.js';
import type { DomainId, EventChannel, EventChannels, Port } from '../machine.js';
import { SpuriousDelay } from '../spurious.js';
import { Device, EventRequest } from './abi.js';
import type { Arena } from './arena.js';
import { openDevice } from './devices.js';
import { errnoName } from './error.js';
import type { NativeLibc } from './libc.js';
import type { DomainRounds } from './loop.js';
import type { Interest, NativeCounters } from './types.js';

const PORT_BYTES = 4;
/** The device takes and gives a page of ports at a time. */
const PORTS_PER_CALL = PAGE_BYTES / PORT_BYTES;

/** A domain's event channels. */
export class NativeEvents implements EventChannels {
  private readonly descriptor: number;
  private readonly channels = new Map<number, NativeChannel>();
  private readonly arrived: number[] = [];
  private readonly notices: NativeChannel[] = [];
  private readonly unmasks: NativeChannel[] = [];
  private readonly words: Uint32Array;
  private readonly scratch: Address;
  private readonly scratchAddress: number;
  private readonly interest: Interest;
  private closed = false;
  /** The ports are void. */
  private abandoned = false;
  /** The descriptor stays open for as long as the process lives. */
  private kept = false;

  constructor(
    private readonly libc: NativeLibc,
    arena: Arena,
    private readonly loop: DomainRounds,
    private readonly counters: NativeCounters,
  ) {
    this.words = arena.memory.words;
    this.scratch = arena.scratch >>> 2;
    this.scratchAddress = arena.base + arena.scratch;
    this.descriptor = openDevice(libc, Device.events);
    this.interest = loop.whenReadable(this.descriptor, () => {
      this.deliver();
    });
  }

  /** Open ports now. */
  get held(): number {
    return this.channels.size;
  }

  /** A port that `peer` may bind. */
  allocateUnbound(peer: DomainId, handler: () => void): EventChannel {
    this.checkAlive();
    const port = this.request(EventRequest.bindUnbound, peer, 0);
    if (port < 0)
      throw new MachineError(
        'NO_PORTS',
        `no event channel for domain ${peer}: the kernel answered ${errnoName(this.libc.errno())}; ` +
          `close some, or check that domain ${peer} is there`,
      );
    return this.add(port, peer, -1, handler);
  }

  /** Binds a port that `peer` allocated for this domain; the local side is pending at once. */
  bindInterdomain(peer: DomainId, remote: Port, handler: () => void): EventChannel {
    this.checkAlive();
    const port = this.request(EventRequest.bindInterdomain, peer, remote);
    if (port < 0)
      throw new MachineError(
        'BAD_PORT',
        `port ${remote} of domain ${peer} cannot be bound: expected one that it opened for this domain, ` +
          `the kernel answered ${errnoName(this.libc.errno())}`,
      );
    return this.add(port, peer, remote, handler);
  }

  /** The local port: `raise` notifies its other end. */
  vector(channel: EventChannel): number {
    return channel.port;
  }

  /** Notifies the other end of the channel that {@link vector} named; nothing happens when it is closed. */
  raise(vector: number): void {
    this.channels.get(vector)?.notify();
  }

  /** The channel that is bound to a port of `peer`, or undefined. */
  boundTo(peer: DomainId, remote: Port): NativeChannel | undefined {
    for (const channel of this.channels.values())
      if (channel.peer === peer && channel.remote === remote) return channel;
    return undefined;
  }

  /** Sends what was put off. */
  flush(): void {
    if (this.notices.length > 0) this.sendNotices();
    if (this.unmasks.length > 0) this.sendUnmasks();
  }

  /**
   * The domain was restored: its ports are void, and their numbers may be somebody else's by now. The kernel is asked
   * nothing about them any more; and where there were ports the descriptor stays open, for Linux looks each port's
   * interrupt up when it is unbound, also by a close, and stops at a BUG when there is none (drivers/xen/evtchn.c,
   * `evtchn_unbind_from_user`). Idempotent.
   */
  abandon(): void {
    if (this.closed || this.abandoned) return;
    this.abandoned = true;
    this.kept = this.channels.size > 0;
    this.interest.close();
    this.notices.length = 0;
    this.unmasks.length = 0;
  }

  /** Closes the device, and with it all ports. Idempotent. */
  close(): void {
    if (this.closed) return;
    this.flush();
    this.closed = true;
    for (const channel of [...this.channels.values()]) channel.close();
    if (!this.kept) this.libc.close(this.descriptor);
  }

  /** A channel has something to say at the round's end. */
  putOff(kind: 'notices' | 'unmasks', channel: NativeChannel): void {
    if (this.abandoned) return;
    this[kind].push(channel);
    this.loop.schedule();
  }

  /** Unbinds a port; what was put off for it is sent first. */
  unbind(channel: NativeChannel): void {
    if (channel.notified) this.sendNotices();
    if (channel.unmasked) this.sendUnmasks();
    this.channels.delete(channel.port);
    // With the descriptor go all ports.
    if (!this.closed && !this.abandoned) this.request(EventRequest.unbind, channel.port, 0);
  }

  private checkAlive(): void {
    if (this.abandoned)
      throw new MachineError('CLOSED', 'this domain was restored since it was opened: open it anew');
  }

  private deliver(): void {
    const { words, scratch, counters } = this;
    counters.eventReads++;
    const got = this.libc.read(this.descriptor, this.scratchAddress, PAGE_BYTES);
    // Copied out: a handler may use the scratch memory.
    for (let i = 0; i < got / PORT_BYTES; i++) this.arrived.push(words[scratch + i]!);
    for (const port of this.arrived) {
      counters.events++;
      this.channels.get(port)?.handler();
    }
    this.arrived.length = 0;
  }

  private sendNotices(): void {
    for (const channel of this.notices) {
      channel.notified = false;
      this.counters.notifications++;
      this.request(EventRequest.notify, channel.port, 0);
    }
    this.notices.length = 0;
  }

  private sendUnmasks(): void {
    const { words, scratch, unmasks } = this;
    for (let done = 0; done < unmasks.length; done += PORTS_PER_CALL) {
      const count = Math.min(PORTS_PER_CALL, unmasks.length - done);
      for (let i = 0; i < count; i++) {
        const channel = unmasks[done + i]!;
        channel.unmasked = false;
        words[scratch + i] = channel.port;
      }
      this.counters.eventUnmasks++;
      this.libc.write(this.descriptor, this.scratchAddress, count * PORT_BYTES);
    }
    unmasks.length = 0;
  }

  private request(request: number, first: number, second: number): number {
    this.words[this.scratch] = first;
    this.words[this.scratch + 1] = second;
    return this.libc.ioctl(this.descriptor, request, this.scratchAddress);
  }

  private add(port: number, peer: DomainId, remote: Port, handler: () => void): NativeChannel {
    const channel = new NativeChannel(this, this.loop, port, peer, remote, handler);
    this.channels.set(port, channel);
    return channel;
  }
}

/** One open port. */
export class NativeChannel implements EventChannel {
  /** A notification waits for the round's end. */
  notified = false;
  /** So does an unmask. */
  unmasked = false;
  private open = true;
  private readonly delay: SpuriousDelay;

  constructor(
    private readonly events: NativeEvents,
    loop: DomainRounds,
    readonly port: Port,
    readonly peer: DomainId,
    /** The port at the other end; -1 when the peer binds, or may bind, to this one. */
    readonly remote: Port,
    readonly handler: () => void,
  ) {
    this.delay = new SpuriousDelay(loop, () => {
      this.letThrough();
    });
  }

  /** Notifies the other end, at the end of the round. */
  notify(): void {
    if (this.notified || !this.open) return;
    this.notified = true;
    this.events.putOff('notices', this);
  }

  /** Lets events through again, at the end of the round; a channel whose events are `spurious` too often, later. */
  unmask(spurious = false): void {
    if (this.open) this.delay.unmask(spurious);
  }

  /** Closes it. Idempotent. */
  close(): void {
    if (!this.open) return;
    this.open = false;
    this.delay.cancel();
    this.events.unbind(this);
  }

  private letThrough(): void {
    if (this.unmasked || !this.open) return;
    this.unmasked = true;
    this.events.putOff('unmasks', this);
  }
}
