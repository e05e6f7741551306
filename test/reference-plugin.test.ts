// Both halves of the reference plugin together, guest to guest over a wire: no frame lost, doubled or out of order
// while filters come and go and the plugin itself does. The seeds decide every interleaving.
import backend from '@netaccel/dummy-accel-backend';
import frontend from '@netaccel/dummy-accel-frontend';
import { describe, expect, it } from 'vitest';
import { numbered, readNumbered } from './numbered.js';
import { TwoGuests } from './two-guests.js';
import type { Side } from './two-guests.js';

const plugins = { frontend, backend };
const WINDOW = 150;
const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);

function randomOf(seed: number): (below: number) => number {
  let state = seed * 2 + 1;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 10) % below;
  };
}

/** Sends numbered frames from one side to the other, and checks what arrives. */
class Traffic {
  readonly sent: number[];
  readonly next: number[];
  private read = 0;

  constructor(
    readonly from: Side,
    readonly to: Side,
    readonly flows: number,
  ) {
    this.sent = new Array<number>(flows).fill(0);
    this.next = new Array<number>(flows).fill(0);
  }

  /** Sends one, unless too many are under way: a NIC that runs out of buffers drops, as it should. */
  send(flow: number): void {
    if (sum(this.sent) - sum(this.next) >= WINDOW) return;
    if (this.from.send(numbered(this.from, this.to, flow, this.sent[flow]!), flow)) this.sent[flow]!++;
  }

  /** Every frame that arrived is the one that was due. */
  check(): void {
    for (; this.read < this.to.delivered.length; this.read++) {
      const seen = readNumbered(this.to.delivered[this.read]!);
      if (seen === null) continue;
      expect(seen.number, `flow ${seen.flow}`).toBe(this.next[seen.flow]);
      this.next[seen.flow]!++;
    }
  }

  get complete(): boolean {
    return this.sent.every((sent, flow) => sent === this.next[flow]);
  }
}

/** Lets everything that is under way arrive. */
async function rest(lab: TwoGuests, traffic: Traffic[]): Promise<void> {
  for (let i = 0; i < 2000; i++) {
    for (const side of lab.sides) side.step();
    if (i % 8 === 0) await lab.settle();
    for (const each of traffic) each.check();
    if (i > 50 && traffic.every(({ complete }) => complete)) return;
  }
  for (const { sent, next } of traffic) expect(next).toEqual(sent);
}

async function announce(lab: TwoGuests): Promise<void> {
  for (const side of lab.sides) {
    const bytes = new Uint8Array(60);
    bytes.fill(0xff, 0, 6);
    bytes.set(side.mac, 6);
    bytes.set([8, 6, 0, 1, 8, 0, 6, 4, 0, 2], 12);
    side.send(bytes, -1);
  }
  for (let i = 0; i < 20; i++) {
    for (const side of lab.sides) side.step();
    await lab.settle();
  }
}

async function attached(maxFilters: number): Promise<TwoGuests> {
  const lab = new TwoGuests(plugins, maxFilters);
  for (const side of lab.sides) await side.attach();
  await announce(lab);
  return lab;
}

describe('the reference plugin', () => {
  it('takes a flow over from the slow path, both ways, and gives it back', async () => {
    const lab = await attached(8);
    const [a, b] = lab.sides;
    const traffic = [new Traffic(a, b, 1), new Traffic(b, a, 1)];
    for (let i = 0; i < 400; i++) {
      for (const each of traffic) each.send(0);
      for (const side of lab.sides) side.step();
      await lab.settle();
      for (const each of traffic) each.check();
    }
    for (const side of lab.sides) {
      expect(side.counts.fastSent).toBe(400);
      expect(side.counts.fastReceived).toBeGreaterThan(350);
    }
    await rest(lab, traffic);
    for (const side of lab.sides) await side.detach();
    const fast = a.counts.fastSent;
    for (let i = 0; i < 100; i++) {
      traffic[0]!.send(0);
      for (const side of lab.sides) side.step();
    }
    await rest(lab, traffic);
    expect(a.counts.fastSent).toBe(fast);
    expect(lab.ledger).toEqual({ shares: 0, maps: 0, ports: 0, registers: 0 });
    for (const side of lab.sides) {
      expect(side.nic.describe().liveVis).toBe(1); // the driver domain's own
      expect(side.pool.free).toBe(256);
      expect(side.failures).toEqual([]);
    }
    expect(lab.clock.pending).toBe(0);
  });

  it.each(Array.from({ length: 60 }, (_, seed) => seed + 1))(
    'keeps every flow in order, whatever happens when: seed %i',
    async (seed) => {
      const random = randomOf(seed);
      const restless = random(2) === 0; // filters and plugins change so often that hardly anything comes to rest
      const flows = 2 + random(5);
      const lab = await attached(1 + random(4)); // often fewer filters than flows: they are taken from each other
      const [a, b] = lab.sides;
      const traffic = [new Traffic(a, b, flows), new Traffic(b, a, flows)];
      let changes = 0;
      for (let i = 0; i < 4000; i++) {
        const side = lab.sides[random(2)]!;
        switch (random(12)) {
          case 0:
          case 1:
          case 2:
          case 3: {
            const burst = 1 + random(4);
            const flow = random(flows);
            for (let n = 0; n < burst; n++) traffic[side.index]!.send(flow);
            break;
          }
          case 4:
            side.drainOut(1 + random(4));
            break;
          case 5:
          case 6:
            side.domain.poll(1 + random(8));
            break;
          case 7:
            side.fill(1 + random(4));
            break;
          case 8:
          case 9:
            side.poll(1 + random(16));
            break;
          case 10:
            await lab.settle();
            break;
          default:
            if (random(restless ? 2 : 4) === 0) lab.clock.advance(random(restless ? 2 : 4) === 0 ? 1100 : 20);
        }
        if (random(restless ? 90 : 900) === 0) {
          changes++;
          if (side.plugin === null) await lab.during(side.attach());
          else await side.detach();
        }
        for (const each of traffic) each.check();
      }
      await rest(lab, traffic);
      expect(sum(lab.sides.map(({ counts }) => counts.fastReceived))).toBeGreaterThan(30);
      if (restless) expect(changes).toBeGreaterThan(5);
      for (const side of lab.sides) if (side.plugin !== null) await side.detach();
      expect(lab.ledger).toEqual({ shares: 0, maps: 0, ports: 0, registers: 0 });
      expect(lab.clock.pending).toBe(0);
      for (const side of lab.sides) {
        expect(side.failures).toEqual([]);
        expect(side.pool.free).toBe(256);
        expect(side.nic.describe().liveVis).toBe(1);
      }
    },
  );

  it('does not send into the wire what has moved to its own host', async () => {
    const lab = await attached(8);
    const [a, b] = lab.sides;
    const traffic = new Traffic(a, b, 1);
    traffic.send(0);
    await rest(lab, [traffic]);
    expect(a.counts.fastSent).toBe(1);
    // Guest b's address shows up on host a: its announcement leaves by a's port.
    const bytes = new Uint8Array(60);
    bytes.fill(0xff, 0, 6);
    bytes.set(b.mac, 6);
    bytes.set([8, 6, 0, 1, 8, 0, 6, 4, 0, 2], 12);
    const frame = a.pool.allocate()!;
    lab.memory.bytes.set(bytes, frame.home);
    frame.describe(frame.home, 60);
    a.domain.send(frame);
    frame.release();
    await lab.settle();
    traffic.send(0);
    expect(a.counts.fastSent).toBe(1);
    expect(a.counts.slowSent).toBe(2); // the announcement of the beginning, and this one
  });
});
