/**
 * One vif of the scripted host: attaches both halves of a plugin as the drivers do, in either order, and takes them
 * off again, each step within its deadline. A check may stop in between, or have a service fail on the way.
 */
import type { BackendAccelerator } from '../../backend.js';
import type { AcceleratorStatistics, FrontendAccelerator, VifIdentity } from '../../frontend.js';
import { addressOf } from '../frames.js';
import { backServices } from './driver-side.js';
import { GuestSide } from './guest-side.js';
import { HELD_KINDS, Half } from './half.js';
import { KIT_LIMITS } from './host.js';
import type { Outcome, ScriptedHost } from './host.js';
import { mailboxOf } from './mailbox.js';
import type { MailEnd } from './mailbox.js';
import { Keys } from './services.js';
import type { ServiceParts } from './services.js';

/** How long the drivers wait: what their own deadlines are. */
export const Deadline = { probeMs: 5000, quiesceMs: 2000, removeMs: 2000 } as const;

/** Which half is there first. */
export type Order = 'front first' | 'back first';

/** How a detach went; false where the plugin did not come to an end in its time. */
export interface Detached {
  readonly quiesced: boolean;
  readonly frontRemoved: boolean;
  readonly backRemoved: boolean;
  /** The last read of the statistics. */
  readonly totals: AcceleratorStatistics | null;
  /** Frames that were never completed. */
  readonly missing: number;
  /** What a hook rejected with. */
  readonly errors: readonly string[];
}

/** A vif. */
export class Vif {
  readonly identity: VifIdentity;
  readonly front: Half;
  readonly back: Half;
  readonly mail: { front: MailEnd; back: MailEnd };
  readonly guest: GuestSide;
  /** What `newDevice` and `probe` made, kept after removal. */
  device: FrontendAccelerator | null = null;
  accelerator: BackendAccelerator | null = null;
  private readonly backParts: ServiceParts;

  constructor(
    readonly host: ScriptedHost,
    readonly number: number,
  ) {
    const { top, clock, subject, bench, options } = host;
    this.identity = {
      handle: 0,
      guest: number + 1,
      backend: 0,
      mac: Uint8Array.of(2, 0, 0, 0, 1, number + 1),
      mtu: options.mtu ?? 1500,
    };
    this.front = new Half('front half', host.onBreach);
    this.back = new Half('back half', host.onBreach);
    this.mail = mailboxOf(clock, this.front, this.back);
    const keys = { front: new Keys(), back: new Keys() };
    const guard =
      (half: Half) =>
      <A extends unknown[]>(what: string, handler: (...args: A) => void) =>
      (...args: A): void => {
        try {
          handler(...args);
        } catch (error) {
          if (!half.over)
            host.onBreach('hooks.never-throw', `${what} of the ${half.name} threw ${String(error)}`);
        }
      };
    this.guest = new GuestSide({
      top,
      clock,
      half: this.front,
      mailbox: this.mail.front,
      contract: subject.frontend.contract,
      own: keys.front,
      peer: keys.back,
      guard: guard(this.front),
      vif: this.identity,
      ownReasons: subject.frontend.declineReasons ?? [],
      registerWritten: (address) => bench.registerWritten?.(address),
    });
    this.backParts = {
      top,
      clock,
      half: this.back,
      mailbox: this.mail.back,
      contract: subject.backend.contract,
      own: keys.back,
      peer: keys.front,
      guard: guard(this.back),
    };
  }

  /** Attaches both halves; the reason why it did not work, or null. */
  async attach(order: Order = 'front first'): Promise<string | null> {
    const { host } = this;
    if (order === 'back first') {
      const probed = await host.within(this.probe(), Deadline.probeMs);
      if (probed?.ok !== true) return this.failed('probe', probed, this.back);
      await host.run(20);
    }
    const front = this.newDevice();
    if (order === 'front first') {
      await host.run(5);
      const probed = await host.within(this.probe(), Deadline.probeMs);
      if (probed?.ok !== true) {
        this.back.over = true;
        await host.within(front, Deadline.probeMs);
        this.front.over = true;
        return this.failed('probe', probed, this.back);
      }
    }
    const made = await host.within(front, Deadline.probeMs);
    if (made?.ok !== true) return this.failed('newDevice', made, this.front);
    await host.settle();
    return null;
  }

  /** Calls `probe`. */
  async probe(): Promise<void> {
    const { host, identity } = this;
    const { subject, options } = host;
    this.mail.back.start();
    this.accelerator = await subject.backend.probe(
      backServices({
        ...this.backParts,
        bench: host.bench,
        port: host.port,
        // The back half knows the addresses, and tells the front half.
        vif: options.ownAddresses === true ? { ...identity, addresses: ownAddresses(this.number) } : identity,
        limits: { ...KIT_LIMITS, ...options.limits },
        rate: options.rateBytesPerSecond ?? 0,
        entered: () => this.guest.entered,
      }),
    );
  }

  /** Calls `newDevice`; its hooks are live when it resolves. */
  async newDevice(): Promise<void> {
    this.mail.front.start();
    this.device = await this.host.subject.frontend.newDevice(this.guest.services);
    this.guest.device = this.device;
  }

  /** Takes both halves off, as netfront and netback do: quiesce, the last totals, no hook any more, remove. */
  async detach(): Promise<Detached> {
    const { host, guest, device, accelerator } = this;
    const errors: string[] = [];
    const note = (hook: string, outcome: Outcome<unknown> | null): boolean => {
      if (outcome?.ok === false) errors.push(`${hook} rejected: ${outcome.reason}`);
      return outcome?.ok === true;
    };
    let quiesced = true;
    let frontRemoved = true;
    let backRemoved = true;
    let totals: AcceleratorStatistics | null = null;
    if (device !== null) {
      if (guest.device !== null) {
        quiesced = note(
          'quiesce',
          await host.within(
            start(() => device.quiesce()),
            Deadline.quiesceMs,
          ),
        );
        await host.until(() => guest.inFlight.size === 0, quiesced ? 50 : 0);
        totals = this.statistics();
      }
      guest.device = null;
      frontRemoved = note(
        'remove',
        await host.within(
          start(() => device.remove()),
          Deadline.removeMs,
        ),
      );
      this.read(device, zeros(), ' after remove()'); // as netfront does
    }
    this.front.over = true;
    if (accelerator !== null)
      backRemoved = note(
        'remove',
        await host.within(
          start(() => accelerator.remove()),
          Deadline.removeMs,
        ),
      );
    this.back.over = true;
    const missing = guest.inFlight.size;
    guest.takeBack();
    return { quiesced, frontRemoved, backRemoved, totals, missing, errors };
  }

  /** Reads the totals; null when they cannot be read. */
  statistics(into: AcceleratorStatistics = zeros()): AcceleratorStatistics | null {
    const { device } = this.guest;
    return device === null ? null : this.read(device, into);
  }

  private read(
    device: FrontendAccelerator,
    into: AcceleratorStatistics,
    when = '',
  ): AcceleratorStatistics | null {
    try {
      device.statistics(into);
    } catch (error) {
      this.host.onBreach('hooks.never-throw', `statistics${when} threw ${String(error)}`);
      return null;
    }
    return into;
  }

  /** What both halves still hold, and frames that a plugin did not let go. */
  left(): { readonly kind: string; readonly what: string }[] {
    const { guest } = this;
    const frames = guest.pool.count - guest.pool.free + guest.large.count - guest.large.free;
    return [
      ...[this.front, this.back].flatMap((half) =>
        HELD_KINDS.flatMap((kind) =>
          half.holds(kind).map((what) => ({ kind, what: `${what}, of the ${half.name}` })),
        ),
      ),
      ...(frames - guest.inFlight.size > 0 ? [{ kind: 'frames', what: `${frames} frames of netfront` }] : []),
    ];
  }

  private failed(hook: string, outcome: Outcome<unknown> | null, half: Half): string {
    const said = outcome?.ok === false ? `rejected: ${outcome.reason}` : `did not come to an end`;
    const [reason] = half.failures;
    return `${hook} ${said}${reason === undefined ? '' : `; it had said: ${reason}`}`;
  }
}

/** The IP addresses that the guest of a vif sends from. */
function ownAddresses(number: number): Uint8Array[] {
  return ([4, 6] as const).map((version) => Uint8Array.from(addressOf(version, number + 1)));
}

/** Totals of nothing. */
export function zeros(): AcceleratorStatistics {
  return { txFrames: 0, txBytes: 0, rxFrames: 0, rxBytes: 0, txErrors: 0, rxErrors: 0 };
}

/** A hook that may throw instead of rejecting. */
async function start(hook: () => Promise<void>): Promise<void> {
  await hook();
}
