/**
 * Two NIC models on a wire over one memory, and a clock that a test moves: what {@link FakeGuest} and {@link FakeHost}
 * stand on. A grant's reference is its page's number.
 */
import { PAGE_BYTES } from '@netaccel/core-hooks';
import type { Address } from '@netaccel/core-hooks';
import { FlatMemory, VirtualClock } from '@netaccel/core-hooks/testing';
import type { NicControl } from '../control.js';
import { Nic, Wire, nicStateBytes, wireStateBytes } from '../model/index.js';

const NIC = { vis: 8, bufferPages: 4096, filters: 64 };
const PAGES = 4096;
/** Turns of the promise queue that everything has to be over in. */
const TURNS = 1000;

/** Counts what is held, and takes back each thing once. */
export class Holdings<Kind extends string> {
  /** How many of each kind are held now. */
  readonly now: Record<Kind, number>;

  /** @param kinds what is counted. */
  constructor(kinds: readonly Kind[]) {
    this.now = Object.fromEntries(kinds.map((kind) => [kind, 0])) as Record<Kind, number>;
  }

  /** One more is held; answers what gives it back, which may be called again and does nothing then. */
  take(kind: Kind, end: () => void = () => undefined): () => void {
    this.now[kind]++;
    let open = true;
    return () => {
      if (!open) return;
      open = false;
      this.now[kind]--;
      end();
    };
  }
}

/** See the top of the file. */
export class TwoNics {
  /** What all addresses point into. */
  readonly memory = new FlatMemory(PAGES);
  /** The time. */
  readonly clock = new VirtualClock();
  /** The NIC of the half under test. */
  readonly nic: Nic;
  /** The one at the other end of the wire. */
  readonly peerNic: Nic;
  /** Control of the first port of {@link nic}. */
  readonly control: NicControl;
  /** The wire. */
  readonly wire: Wire;
  /** Makes the next service of that name throw. */
  failing: string | null = null;

  /** @param interrupt told of the vectors that the NICs raise. */
  constructor(interrupt: (vector: number) => void) {
    const { memory, clock } = this;
    const options = { concurrent: false, interrupt, clock: () => clock.now() * 1000 };
    const take = (bytes: number): Address => memory.allocate(Math.ceil(bytes / PAGE_BYTES));
    const make = (): Nic => Nic.create(memory, take(nicStateBytes(NIC)), options, NIC);
    this.nic = make();
    this.peerNic = make();
    this.control = this.nic.control(0);
    const ends = [this.nic, this.peerNic].map((nic) => ({ nic, port: 0 })) as [
      { nic: Nic; port: 0 },
      { nic: Nic; port: 0 },
    ];
    this.wire = Wire.create(memory, take(wireStateBytes({})), ...ends, {});
  }

  /** References of pages that lie one after the other. */
  refsOf(address: Address, pages: number): Uint32Array {
    return Uint32Array.from({ length: pages }, (_, i) => address / PAGE_BYTES + i);
  }

  /** Lets everything that was promised happen. */
  async settle(): Promise<void> {
    for (let i = 0; i < TURNS; i++) await Promise.resolve();
  }

  /** Waits for something that needs time, while the clock goes on and `poll` is called. */
  async during<T>(work: Promise<T>, poll: () => unknown = () => undefined): Promise<T> {
    const state = { over: false };
    const end = (): void => {
      state.over = true;
    };
    work.then(end, end);
    await this.settle();
    for (let i = 0; i < 1000 && !state.over; i++) {
      poll();
      this.clock.advance(10);
      await this.settle();
    }
    return work;
  }

  /** Throws when a test said that this is to fail. */
  fail(what: string): void {
    if (this.failing !== what) return;
    this.failing = null;
    throw new Error(`${what} fails, as the test said`);
  }
}
