// A card in memory for the kit's own tests: sessions of guests, claims of flows, a wire that is a list. It fills
// checksums and cuts segments as a NIC does. Not a NIC of nic-vi: the kit knows no device.
import type { Bench, BenchFault, BenchMachine, Receiver } from '../../src/conformance/index.js';
import { cut, fill } from './offload.js';

export const CARD = 'memory-card';

/** What a session's owner is told. */
export interface SessionOwner {
  /** A frame of a claimed flow. */
  receive(bytes: Uint8Array, claim: number, good: boolean): void;
  /** A frame was sent. */
  sent(cookie: number): void;
  /** Something went wrong with the session: it does nothing any more. */
  failed(kind: BenchFault): void;
}

/** A frame to send. */
export interface Job {
  readonly cookie: number;
  readonly bytes: () => Uint8Array;
  readonly blank: boolean;
  readonly segmentBytes: number;
}

/** What a claim matches: a destination MAC with what tells one flow from another. */
export interface Claim {
  readonly mac: string;
  readonly key: string;
}

interface Session {
  readonly owner: SessionOwner;
  readonly claims: Map<number, Claim>;
  /** When each claim last matched. */
  readonly used: Map<number, number>;
  readonly jobs: Job[];
  readonly generation: number;
  fault: BenchFault | null;
}

/** The verbs of the card: what a back half finds as `port.device`. */
export interface CardDevice {
  readonly kind: typeof CARD;
  generation: number;
  open(this: void, owner: SessionOwner): number;
  close(this: void, session: number): void;
  claim(this: void, session: number, claim: Claim): number;
  unclaim(this: void, session: number, claim: number): void;
  lastUsed(this: void, session: number, claim: number): number;
  transmit(this: void, session: number, job: Job): void;
}

export class MemoryCard implements Bench {
  readonly device: CardDevice;
  private readonly sessions = new Map<number, Session>();
  private readonly wire: Uint8Array[] = [];
  private next = 1;
  held = false;
  up = true;
  /** How it cuts: another's place for plugins that misbehave. */
  cut = cut;
  /** How it fills in a checksum; likewise. */
  fill = fill;

  constructor(readonly machine: BenchMachine) {
    this.device = {
      kind: CARD,
      generation: 1,
      open: (owner) => {
        const id = this.next++;
        const { generation } = this.device;
        const maps = { claims: new Map<number, Claim>(), used: new Map<number, number>() };
        this.sessions.set(id, { owner, ...maps, jobs: [], generation, fault: null });
        return id;
      },
      close: (session) => void this.sessions.delete(session),
      claim: (session, claim) => {
        for (const { claims } of this.sessions.values())
          for (const each of claims.values())
            if (each.mac === claim.mac && each.key === claim.key) throw new Error('the card has this claim');
        const id = this.next++;
        const { claims, used } = this.sessions.get(session)!;
        claims.set(id, claim);
        used.set(id, machine.clock.now());
        return id;
      },
      unclaim: (session, claim) => void this.sessions.get(session)?.claims.delete(claim),
      lastUsed: (session, claim) => this.sessions.get(session)?.used.get(claim) ?? 0,
      transmit: (session, job) => {
        this.sessions.get(session)?.jobs.push(job);
        this.work();
      },
    };
  }

  arrive(bytes: Uint8Array): Receiver {
    if (!this.up) return 'driver';
    const { mac, key, good } = flowOf(bytes);
    for (const { owner, claims, used, fault } of this.sessions.values())
      for (const [id, claim] of claims)
        if ((claim.mac === mac || claim.mac === '*') && claim.key === key) {
          used.set(id, this.machine.clock.now());
          if (fault === null) owner.receive(bytes, id, good);
          return 'guest';
        }
    return 'driver';
  }

  takeSent(): Uint8Array[] {
    return this.wire.splice(0);
  }

  /** Puts a frame on the wire past every session: for plugins that misbehave. */
  inject(bytes: Uint8Array): void {
    this.wire.push(bytes);
  }

  holdTransmit(held: boolean): void {
    this.held = held;
    this.work();
  }

  setLink(up: boolean): void {
    this.up = up;
    this.work();
  }

  reset(): void {
    this.device.generation++;
    this.sessions.clear();
  }

  fault(kind: BenchFault): boolean {
    for (const session of this.sessions.values()) {
      session.fault = kind;
      session.owner.failed(kind);
    }
    return this.sessions.size > 0;
  }

  resources(): Readonly<Record<string, number>> {
    let claims = 0;
    for (const session of this.sessions.values()) claims += session.claims.size;
    return { sessions: this.sessions.size, claims };
  }

  private work(): void {
    if (this.held || !this.up) return;
    for (const { owner, jobs, fault } of this.sessions.values())
      for (const job of fault === null ? jobs.splice(0) : []) {
        const bytes = job.bytes();
        if (job.segmentBytes > 0) this.wire.push(...this.cut(bytes, job.segmentBytes));
        else this.wire.push(job.blank ? this.fill(bytes) : bytes);
        owner.sent(job.cookie);
      }
  }
}

/** The key of a frame's flow: version, protocol, destination and port; empty for what has none. */
export function flowOf(bytes: Uint8Array): { mac: string; key: string; good: boolean } {
  const mac = [...bytes.subarray(0, 6)].join(':');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const type = bytes.length < 42 ? 0 : view.getUint16(12);
  const l4 = type === 0x0800 && bytes[14] === 0x45 ? 34 : type === 0x86dd && bytes.length >= 62 ? 54 : 0;
  const protocol = l4 === 34 ? bytes[23]! : l4 === 54 ? bytes[20]! : 0;
  const whole = l4 !== 34 || (view.getUint16(20) & 0x3fff) === 0;
  if (l4 === 0 || !whole || (protocol !== 6 && protocol !== 17) || (bytes[0]! & 1) !== 0)
    return { mac, key: '', good: false };
  const target = [...bytes.subarray(l4 === 34 ? 30 : 38, l4)].join('.');
  const before = bytes.slice();
  return { mac, key: `${protocol}/${target}/${view.getUint16(l4 + 2)}`, good: same(fill(before), bytes) };
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return a.every((byte, i) => byte === b[i]);
}
