/**
 * The vifs' ports of one host's bridge, and what is done with them while guests come, go and pause.
 *
 * Netback asks for a port when a vif appears (`network`). A toolstack that suspends or moves a guest calls the rest;
 * its arguments and answers are plain data, so that it may be in another thread. Owned by the driver domain.
 */
import { FramePool, PAGE_BYTES } from '@netaccel/core-hooks';
import type { Frame } from '@netaccel/core-hooks';
import type { VifName, VifNetwork } from '@netaccel/netback';
import type { Domain, DomainId } from '@netaccel/xen';
import { ANNOUNCEMENT_BYTES, announcementOf } from '../ports/announcement.js';
import type { Bridge } from '../ports/bridge.js';
import type { HeldFrame } from '../ports/held-frames.js';
import type { NicPort } from '../ports/nic-port.js';
import { VifPort, noVifPortStatistics } from '../ports/vif-port.js';
import type { Backlog, VifPortStatistics } from '../ports/vif-port.js';

/** How long frames that netback has for a guest may take to reach its ring, when its port is held. */
const HOLD_DRAIN_MS = 500;
/** How long plugins have to tell their guests that an address is off the fast path. */
const WARN_MS = 5;
/** How long netback may take to notice that a vif was removed. */
const GONE_MS = 1000;
/** Announcements that may be on their way to a wire at the same time. */
const ANNOUNCEMENTS = 32;

/** What a port that was left had. */
export interface LeftPort {
  /** Frames that waited, oldest first. */
  readonly frames: readonly HeldFrame[];
  readonly statistics: Readonly<VifPortStatistics>;
}

/** What a toolstack may ask for, from any thread. Vifs are named by their guest's number; its vif 0 is meant. */
export interface DeskCalls {
  /**
   * Frames for the guest wait from here on; resolves when those that came before are on its ring, or it took none.
   * @param mac its address.
   * @param leaving whether it goes to another host.
   */
  hold(guest: DomainId, mac: Uint8Array, leaving: boolean): Promise<void>;
  /**
   * A guest of some host of the lab is on its way: plugins here take its address off the fast path, as if it were on
   * this host. Resolves when they have had time to tell their guests.
   */
  warn(mac: Uint8Array): Promise<void>;
  /** A guest is about to move in: its port is there, held, and the network learns that its address is here. */
  expect(guest: DomainId, mac: Uint8Array): Promise<void>;
  /** Says once more that the guest's address is here. */
  announce(guest: DomainId, mac: Uint8Array): Promise<void>;
  /** Resolves when the host that an expected guest was on has answered `count` announcements: whether in time. */
  answered(guest: DomainId, count: number, withinMs: number): Promise<boolean>;
  /** A guest that was held has left: its port goes, and what waited with it. */
  leave(mac: Uint8Array): Promise<LeftPort>;
  /**
   * A guest that was held or expected is there: what waits is delivered behind `earlier`, and the port is open.
   * @returns the port's counters then.
   */
  open(guest: DomainId, earlier: readonly HeldFrame[]): Promise<Readonly<VifPortStatistics>>;
  /** Resolves when netback has let go of the guest's vif, whose directory is removed, or after a time. */
  gone(guest: DomainId): Promise<void>;
}

/** The desk. */
export class VifDesk implements DeskCalls {
  /** What ports that are gone had counted. */
  readonly former = noVifPortStatistics();
  private readonly ports = new Map<string, VifPort>();
  /** Ports of guests that left, until all that waits has gone after them; by address. */
  private readonly leaving = new Map<string, VifPort>();
  private readonly waiting = new Set<() => void>();
  private readonly page: number;
  private readonly announcements: FramePool;

  constructor(
    private readonly domain: Domain,
    private readonly bridge: Bridge,
    private readonly nicPorts: ReadonlyMap<string, NicPort>,
    private readonly backlog: Backlog,
  ) {
    // Memory that a NIC may be told of for good: it is given back with the NIC's own.
    this.page = domain.pages.allocate(1);
    this.announcements = new FramePool(ANNOUNCEMENTS, this.page, PAGE_BYTES / ANNOUNCEMENTS);
  }

  /** The port of a vif that appears. */
  network({ guest, handle }: VifName): VifNetwork {
    const key = keyOf(guest, handle);
    const port = this.ports.get(key) ?? this.add(guest, handle);
    return {
      sink: port.input,
      attach: (vif) => {
        port.vif = vif;
      },
      settled: () => port.settled(),
      detach: () => {
        port.vif = null;
        if (this.ports.get(key) === port) this.ports.delete(key);
        if (![...this.leaving.values()].includes(port)) this.retire(port);
        for (const look of [...this.waiting]) look();
      },
    };
  }

  /** {@inheritDoc DeskCalls.hold} */
  async hold(guest: DomainId, mac: Uint8Array, leaving: boolean): Promise<void> {
    const port = this.port(guest);
    port.hold(mac, leaving ? 'leaving' : 'paused');
    if (leaving) this.leaving.set(textOf(mac), port);
    const { vif } = port;
    if (vif === null) return;
    await new Promise<void>((resolve) => {
      const cancel = this.domain.loop.after(HOLD_DRAIN_MS, resolve);
      const over = (): void => {
        cancel();
        resolve();
      };
      vif.fence().then(over, over);
    });
  }

  /** {@inheritDoc DeskCalls.warn} */
  async warn(mac: Uint8Array): Promise<void> {
    const frame = this.broadcast(announcementOf(mac));
    if (frame === null) return;
    for (const port of this.nicPorts.values()) port.pretend(frame);
    frame.release();
    await new Promise<void>((resolve) => void this.domain.loop.after(WARN_MS, resolve));
  }

  /** {@inheritDoc DeskCalls.expect} */
  async expect(guest: DomainId, mac: Uint8Array): Promise<void> {
    const returned = this.leaving.get(textOf(mac));
    if (returned !== undefined) {
      // It comes back before it was ever gone: what waited for it still does.
      this.leaving.delete(textOf(mac));
      this.ports.set(keyOf(guest, HANDLE), returned);
      returned.returned();
    } else this.add(guest, HANDLE).hold(mac, 'expected');
    await this.announce(guest, mac);
  }

  /** {@inheritDoc DeskCalls.announce} */
  announce(guest: DomainId, mac: Uint8Array): Promise<void> {
    this.send(this.port(guest), announcementOf(mac));
    return Promise.resolve();
  }

  /** {@inheritDoc DeskCalls.answered} */
  answered(guest: DomainId, count: number, withinMs: number): Promise<boolean> {
    return this.port(guest).answered(count, withinMs);
  }

  /** {@inheritDoc DeskCalls.leave} */
  leave(mac: Uint8Array): Promise<LeftPort> {
    const port = this.leaving.get(textOf(mac));
    if (port === undefined) throw new Error(`expected a held port of ${textOf(mac)}, saw none`);
    this.leaving.delete(textOf(mac));
    const frames = port.leave();
    this.retire(port);
    return Promise.resolve({ frames, statistics: { ...port.statistics } });
  }

  /** {@inheritDoc DeskCalls.open} */
  async open(guest: DomainId, earlier: readonly HeldFrame[]): Promise<Readonly<VifPortStatistics>> {
    const port = this.port(guest);
    for (const [mac, leaving] of this.leaving) if (leaving === port) this.leaving.delete(mac);
    await port.open(earlier);
    return { ...port.statistics };
  }

  /** {@inheritDoc DeskCalls.gone} */
  async gone(guest: DomainId): Promise<void> {
    await new Promise<void>((resolve) => {
      const look = (): void => {
        if (this.ports.has(keyOf(guest, HANDLE))) return;
        end();
      };
      const end = (): void => {
        cancel();
        this.waiting.delete(look);
        resolve();
      };
      const cancel = this.domain.loop.after(GONE_MS, end);
      this.waiting.add(look);
      look();
    });
  }

  /** Announcements that are not home. */
  get framesOut(): number {
    return ANNOUNCEMENTS - this.announcements.free;
  }

  /** Counters of the ports, by name. */
  describe(): Readonly<Record<string, unknown>>[] {
    return [...this.ports.values(), ...this.leaving.values()].map((port) => ({
      name: port.name,
      waiting: port.waitingFrames,
      ...port.statistics,
    }));
  }

  /** Gives everything back; the NIC ports are closed. */
  close(): void {
    for (const port of [...this.ports.values(), ...this.leaving.values()]) port.close();
    this.domain.pages.free(this.page);
  }

  /** Closes a port, and keeps what it counted. */
  private retire(port: VifPort): void {
    port.close();
    for (const name of Object.keys(this.former) as (keyof VifPortStatistics)[])
      this.former[name] += port.statistics[name];
  }

  /** Sends a broadcast in by a guest's port; not when too many are on their way: one of them will do. */
  private send(port: VifPort, bytes: Uint8Array): void {
    const frame = this.broadcast(bytes);
    if (frame === null) return;
    port.input.deliver(frame);
    port.input.flush();
    frame.release();
  }

  private broadcast(bytes: Uint8Array): Frame | null {
    const frame = this.announcements.allocate();
    if (frame === null) return null;
    this.domain.memory.bytes.set(bytes, frame.home);
    frame.describe(frame.home, ANNOUNCEMENT_BYTES);
    return frame;
  }

  private add(guest: DomainId, handle: number): VifPort {
    const port = new VifPort(
      this.domain,
      this.bridge,
      `vif${guest}.${handle}`,
      this.backlog,
      (leaving, farewell) => this.send(leaving, farewell),
    );
    this.ports.set(keyOf(guest, handle), port);
    return port;
  }

  private port(guest: DomainId): VifPort {
    const port = this.ports.get(keyOf(guest, HANDLE));
    if (port === undefined) throw new Error(`expected a vif of domain ${guest}, saw none on this host`);
    return port;
  }
}

/** The vif of a guest that is moved. */
const HANDLE = 0;

function keyOf(guest: DomainId, handle: number): string {
  return `${guest}/${handle}`;
}

function textOf(mac: Uint8Array): string {
  return Array.from(mac, (byte) => byte.toString(16).padStart(2, '0')).join(':');
}
