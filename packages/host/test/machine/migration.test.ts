// Moves of a guest between two bridges whose links deliver whenever chance says: no frame twice, none too late, and no
// unicast frame lost, on the way there and on a way back.
import { FramePool } from '@netaccel/core-hooks';
import type { Frame } from '@netaccel/core-hooks';
import { FlatMemory, VirtualClock } from '@netaccel/core-hooks/testing';
import type { Netback, VifNetwork } from '@netaccel/netback';
import type { Domain } from '@netaccel/xen';
import { Random } from '@netaccel/xen/sim';
import { describe, expect, it } from 'vitest';
import { migrateGuest } from '../../src/machine/migration.js';
import type { MigrationHost, MigrationReport } from '../../src/machine/migration.js';
import { VifDesk } from '../../src/machine/vif-desk.js';
import { Bridge } from '../../src/ports/bridge.js';

const GUEST = Uint8Array.of(2, 0, 0, 0, 0, 10);
const EVERYONE = Uint8Array.of(255, 255, 255, 255, 255, 255);
const BYTES = 60;
/** Where a test's frame has its ethertype, and then its number. */
const ETHERTYPE = 12;
const NUMBER = 14;
/** IEEE 802 local experimental ethertype 1. */
const EXPERIMENTAL = [0x88, 0xb5];
const SENDERS = 2;

/** A host: a bridge with a sender, a link's end, and the ports of its vifs. */
class Host implements MigrationHost {
  readonly desk: VifDesk;
  /** What the link takes away. */
  readonly onLink: Uint8Array[] = [];
  private readonly memory = new FlatMemory(1200);
  private readonly frames = new FramePool(64, this.memory.allocate(32), 2048);
  private readonly free: number[] = [];
  private readonly networks = new Map<number, VifNetwork>();
  private readonly link;
  private readonly sender;
  private readonly vif: Netback;

  constructor(
    readonly name: string,
    private readonly number: number,
    clock: VirtualClock,
    private readonly work: () => Promise<void>,
    received: (bytes: Uint8Array) => void,
  ) {
    const { memory, free } = this;
    const pages = {
      allocate: (count: number): number => (count > 1 ? free.pop() : undefined) ?? memory.allocate(count),
      free: (address: number): void => void free.push(address),
    };
    const domain = { memory, pages, loop: clock } as unknown as Domain;
    const bridge = new Bridge(memory, clock);
    const read = ({ address, length }: Frame): Uint8Array => memory.bytes.slice(address, address + length);
    this.link = bridge.attach('link', {
      deliver: (f) => void this.onLink.push(read(f)),
      flush: () => undefined,
    });
    this.sender = bridge.attach('sender', { deliver: () => undefined, flush: () => undefined });
    this.vif = {
      deliver: (frame: Frame) => {
        received(read(frame));
      },
      flush: () => undefined,
      fence: () => this.work().then(() => []),
    } as unknown as Netback;
    const limits = { backlogFrames: 64, backlogBytes: 1 << 20 };
    this.desk = new VifDesk(domain, bridge, new Map(), limits);
  }

  createVif(id: number): Promise<void> {
    const network = this.desk.network({ guest: id, handle: 0 });
    this.networks.set(id, network);
    network.attach(this.vif);
    return this.work();
  }

  async removeVif(id: number): Promise<void> {
    await this.work();
    this.networks.get(id)?.detach(this.vif);
    this.networks.delete(id);
  }

  /** A frame of this host's sender. */
  send(to: Uint8Array, number: number): void {
    const bytes = new Uint8Array(BYTES);
    bytes.set(to);
    bytes.set([2, 0, 0, 0, 1, this.number, ...EXPERIMENTAL, number >> 8, number & 0xff], 6);
    this.put(bytes, this.sender);
  }

  /** A frame from the other host. */
  arrive(bytes: Uint8Array): void {
    this.put(bytes, this.link);
  }

  private put(bytes: Uint8Array, port: { input: { deliver(frame: Frame): void; flush(): void } }): void {
    const frame = this.frames.allocate()!;
    this.memory.bytes.set(bytes, frame.home);
    frame.describe(frame.home, bytes.length);
    port.input.deliver(frame);
    port.input.flush();
    frame.release();
  }
}

/**
 * Moves a guest under traffic of both hosts.
 * @param broken it cannot connect on the new host, and goes back.
 * @param joined whether the hosts' link delivers.
 */
async function move(seed: number, broken: boolean, joined = true) {
  const random = new Random(seed);
  const clock = new VirtualClock();
  // Whatever takes its time ends when chance says.
  const pending: (() => void)[] = [];
  const work = (): Promise<void> => new Promise((resolve) => void pending.push(resolve));
  const unicast = new Map<number, number[]>();
  const group = new Map<number, number[]>();
  const received = (bytes: Uint8Array): void => {
    if (bytes[ETHERTYPE] !== EXPERIMENTAL[0]) return;
    const kind = bytes[0] === 0xff ? group : unicast;
    const numbers = kind.get(bytes[11]!) ?? [];
    kind.set(bytes[11]!, [...numbers, (bytes[NUMBER]! << 8) | bytes[NUMBER + 1]!]);
  };
  const hosts = [0, 1].map((n) => new Host(`host ${n}`, n, clock, work, received));
  const [from, to] = hosts as [Host, Host];
  const sent = { unicast: 0, group: 0 };
  const turn = (): void => {
    const at = random.below(SENDERS);
    const host = hosts[at]!;
    switch (random.below(6)) {
      case 0:
        host.send(GUEST, sent.unicast++);
        break;
      case 1:
        host.send(EVERYONE, sent.group++);
        break;
      case 2:
      case 3:
        if (!joined) break;
        for (let n = random.below(6); n > 0 && host.onLink.length > 0; n--)
          hosts[1 - at]!.arrive(host.onLink.shift()!);
        break;
      case 4:
        clock.advance(random.below(10) / (joined ? 100 : 1));
        break;
      case 5:
        pending.splice(random.below(pending.length + 1), 1)[0]?.();
    }
  };
  const until = async <T>(promise: Promise<T>): Promise<T> => {
    let over = false;
    const end = (): void => void (over = true);
    promise.then(end, end);
    for (let turns = 0; !over; turns++) {
      if (turns > 100_000) throw new Error('a move does not end');
      turn();
      // Promises have nothing left to do when a macrotask has passed.
      await new Promise(setImmediate);
    }
    return promise;
  };
  const guest = {
    name: 'guest',
    mac: GUEST,
    host: from.name,
    id: 1,
    suspend: () => work().then(() => 0),
    move: async (there: MigrationHost) => {
      await work();
      guest.host = there.name;
      return ++guest.id;
    },
    resume: async () => {
      await work();
      if (broken && guest.host === to.name) throw new Error('no grants');
    },
  };
  await until(from.createVif(1));
  await until(from.desk.announce(1, GUEST));
  for (const host of hosts)
    while (host.onLink.length > 0) hosts[host === from ? 1 : 0]!.arrive(host.onLink.shift()!);
  for (let n = 0; n < 20; n++) turn();
  let report: MigrationReport | null = null;
  const moved = until(
    migrateGuest(guest, from, to, [from.desk, to.desk], clock).then((r) => void (report = r)),
  );
  await moved.catch((error: unknown) => {
    if (!broken) throw error;
  });
  for (let n = 0; n < 50; n++) turn();
  // All that is under way arrives.
  while (joined && hosts.some(({ onLink }) => onLink.length > 0))
    for (const [n, host] of hosts.entries())
      for (const bytes of host.onLink.splice(0)) hosts[1 - n]!.arrive(bytes);
  return { unicast, group, sent, report: report as MigrationReport | null, guest, to };
}

const SEEDS = 150;

describe.each([
  ['to its new host', false],
  ['there and back, when it cannot connect there', true],
])('a guest that is moved %s', (_name, broken) => {
  it('gets each frame once and in order, and every unicast frame', async () => {
    let groups = { sent: 0, arrived: 0 };
    for (let seed = 1; seed <= SEEDS; seed++) {
      const { unicast, group, sent, report, guest } = await move(seed, broken);
      const where = `seed ${seed}`;
      expect(guest.host, where).toBe(broken ? 'host 0' : 'host 1');
      expect(report?.announced, where).toBe(broken ? undefined : true);
      for (const numbers of [...unicast.values(), ...group.values()])
        expect(numbers, where).toEqual([...new Set(numbers)].sort((a, b) => a - b));
      const arrived = (kind: Map<number, number[]>) =>
        [...kind.values()].reduce((n, { length }) => n + length, 0);
      expect(arrived(unicast), where).toBe(sent.unicast);
      if (report !== null)
        expect(sent.group - arrived(group), where).toBeLessThanOrEqual(report.lost.holdGroup);
      groups = { sent: groups.sent + sent.group, arrived: groups.arrived + arrived(group) };
    }
    // Few group frames are lost: those that cross with the hand-over.
    expect(groups.arrived / groups.sent).toBeGreaterThan(0.9);
  }, 60_000);
});

describe('a guest that is moved to a host without a link to its old one', () => {
  it('loses what its new host did not know to be its own, and the report says so', async () => {
    const { report, group, to } = await move(1, false, false);
    expect(report?.announced).toBe(false);
    expect(report?.lost.holdGroup).toBeGreaterThan(0);
    expect(to.desk.describe()).toMatchObject([{ holdGroup: report?.lost.holdGroup }]);
    for (const numbers of group.values())
      expect(numbers).toEqual([...new Set(numbers)].sort((a, b) => a - b));
  });
});
