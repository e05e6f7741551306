/**
 * The driver domain of the scripted host: the port that all back halves hold, the slow path behind it, and what one
 * vif's back half is handed. Frames from the wire that nobody claimed come here, are shown to who looks, and wait
 * in the slow path until the guest takes them.
 */
import type { BackendServices, CreditHandler, NicPortHold, VifLimits } from '../../backend.js';
import { Frame, FreeFrames } from '../../frame.js';
import type { VifIdentity } from '../../frontend.js';
import { PAGE_BYTES } from '../../memory.js';
import type { MappedPages } from '../../services.js';
import type { Bench } from '../subject.js';
import type { BenchTop } from './machine.js';
import { commonServices } from './services.js';
import type { ServiceParts } from './services.js';

/** One port, as the driver domain has it. */
export class DriverPort {
  linkUp = true;
  /** Frames that the NIC gave to the driver domain wait there: a driver domain that is busy. */
  delayed = false;
  readonly receivers = new Set<(frame: Frame) => void>();
  readonly transmitters = new Set<(frame: Frame) => void>();
  readonly links = new Set<(up: boolean) => void>();
  readonly resets = new Set<() => void>();
  private readonly frame: Frame;
  private readonly waiting: Uint8Array[] = [];
  private handled: (() => void)[] = [];

  /**
   * @param top the machine.
   * @param onSlow takes a frame that the bridge has.
   */
  constructor(
    private readonly top: BenchTop,
    private readonly onSlow: (bytes: Uint8Array) => void,
  ) {
    this.frame = new Frame(new FreeFrames(), 0, top.memory.allocate(16), 16 * PAGE_BYTES);
    this.frame.hold();
  }

  /** A frame that nobody claimed. */
  arrived(bytes: Uint8Array): void {
    this.waiting.push(bytes);
    if (!this.delayed) this.handleAll();
  }

  /** Shows and forwards what waits, or the first of it. */
  handleAll(most = Infinity): void {
    for (const bytes of this.waiting.splice(0, most)) {
      this.show(bytes, this.receivers);
      this.onSlow(bytes);
    }
    if (this.waiting.length > 0) return;
    for (const done of this.handled.splice(0)) done();
  }

  /** A frame leaves for the wire by the slow path. */
  leaves(bytes: Uint8Array): void {
    this.show(bytes, this.transmitters);
  }

  /** Resolves when all that the NIC gave so far is handled. */
  received(): Promise<void> {
    if (this.waiting.length === 0) return Promise.resolve();
    return new Promise((resolve) => this.handled.push(resolve));
  }

  private show(bytes: Uint8Array, to: ReadonlySet<(frame: Frame) => void>): void {
    this.top.memory.bytes.set(bytes, this.frame.home);
    this.frame.describe(this.frame.home, bytes.length);
    for (const look of [...to]) look(this.frame);
  }
}

/** What a vif adds. */
export interface BackParts extends ServiceParts {
  readonly bench: Bench;
  readonly port: DriverPort;
  readonly vif: VifIdentity;
  readonly limits: VifLimits;
  readonly rate: number;
  /** Frames that have entered the slow path towards the guest. */
  entered(): number;
}

/** How often credit comes, and how much is saved up: half of what netback's own shaping lets through at once. */
const CREDIT_MS = 10;
const MOST_CREDIT = 65_536;

/** Gives a back half the vif's credit; answers what ends it. The slow path of this host sends nothing of the guest's. */
function dealCredit({ clock, guard, rate }: BackParts, handler: CreditHandler): () => void {
  const deal = guard('the onCredit handler', (bytes: number, most: number) => void handler(bytes, most));
  if (rate === 0) {
    deal(Infinity, Infinity);
    return () => undefined;
  }
  deal(0, MOST_CREDIT);
  const next = (): (() => void) =>
    clock.after(CREDIT_MS, () => {
      cancel = next();
      deal((rate * CREDIT_MS) / 1000, MOST_CREDIT);
    });
  let cancel = next();
  return () => cancel();
}

/** Makes what the back half is handed. */
export function backServices(parts: BackParts): BackendServices {
  const { top, half, port, guard } = parts;
  return {
    ...commonServices(parts),
    vif: parts.vif,
    limits: parts.limits,
    rateBytesPerSecond: parts.rate,
    onCredit: (handler) => {
      half.enter('onCredit');
      return half.hold('subscriptions', 'an onCredit handler', dealCredit(parts, handler));
    },
    port: portHold(parts),
    map: (refs, access): MappedPages => {
      half.enter('map');
      const { addresses, unmap } = top.map(refs, access === 'write');
      return { addresses, unmap: half.hold('mappings', `${refs.length} mapped pages`, unmap) };
    },
    fence: async () => {
      await Promise.resolve();
      half.enter('fence');
      return [parts.entered() >>> 0];
    },
  };

  function portHold({ bench }: BackParts): NicPortHold {
    const subscribe = <A extends unknown[]>(
      what: string,
      to: Set<(...args: A) => void>,
      handler: (...args: A) => void,
    ): (() => void) => {
      half.enter(`port.${what}`);
      const guarded = guard(`the ${what} handler`, handler);
      to.add(guarded);
      return half.hold('subscriptions', `a ${what} handler`, () => void to.delete(guarded));
    };
    return {
      name: 'eth0',
      device: bench.device,
      onReceive: (handler) => subscribe('onReceive', port.receivers, handler),
      onTransmit: (handler) => subscribe('onTransmit', port.transmitters, handler),
      onReset: (handler) => subscribe('onReset', port.resets, handler),
      onLink: (handler) => {
        const end = subscribe('onLink', port.links, handler);
        handler(port.linkUp);
        return end;
      },
      received: () => port.received(),
    };
  }
}
