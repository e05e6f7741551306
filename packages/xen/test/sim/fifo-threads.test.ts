// FIFO event channels of a domain whose peers are in other threads: what they post, and what dies with them.
import { PAGE_BYTES } from '@netaccel/core-hooks';
import { beforeEach, describe, expect, test } from 'vitest';
import { SimEvents } from '../../src/sim/events.js';
import type { SimEventChannel } from '../../src/sim/index.js';
import { Lab, domainRecord } from '../../src/sim/index.js';

const CONTROL = domainRecord.fields.control.offset;

describe('a sender in another thread', () => {
  let lab: Lab;
  let events: SimEvents;
  let me: number;
  let peer: number;
  let seen: number[];
  const clock = { now: () => 0, after: () => () => undefined };

  beforeEach(() => {
    seen = [];
    lab = Lab.create({ pages: 2048, domains: 4, grantPages: 1, ports: 4096, mappings: 16 }, true);
    me = lab.createDomain(0, 1);
    peer = lab.createDomain(0, 2);
    events = new SimEvents({ lab, slot: me, host: 0, id: 1, faults: {} }, clock, 'fifo');
  });

  /** Opens channels and has the other domain bind each. */
  function open(count: number): SimEventChannel[] {
    return Array.from({ length: count }, (_, i) => {
      const channel = events.allocateUnbound(2, () => {
        seen.push(channel.port);
        channel.unmask();
      });
      lab.ports.bind(peer, i + 1, 2, me, 1, channel.port);
      return channel;
    });
  }

  test('posts, and touches no page of the guest; the guest finds the events in the order in which they came', () => {
    const opened = open(10);
    const [address] = [lab.memory.words[(lab.plan.record(me) + CONTROL) >>> 2]!];
    let signals = 0;
    lab.onSignal = (which) => (signals += Number(which === me));
    for (const { port } of [...opened].reverse()) lab.ports.notify(peer, port);
    for (const { port } of opened) lab.ports.notify(peer, port);
    expect(signals).toBe(10);
    expect(lab.memory.same(address, 0, PAGE_BYTES)).toBe(true);
    expect(lab.ports.waiting(me)).toBe(true);
    events.deliver();
    expect(seen).toEqual(opened.map(({ port }) => port).reverse());
    expect(lab.ports.waiting(me)).toBe(false);
  });

  test('more events than there is room to note the order of: none is lost', () => {
    const opened = open(3000);
    for (let round = 0; round < 3; round++) {
      seen.length = 0;
      for (const { port } of opened) lab.ports.notify(peer, port);
      while (lab.ports.waiting(me)) events.deliver();
      expect([...seen].sort((a, b) => a - b)).toEqual(opened.map(({ port }) => port));
    }
  });

  test('a sender that is not done noting its port delays nobody: what was posted is found all the same', () => {
    const opened = open(3);
    const posts = lab.plan.record(me) + domainRecord.fields.posts.offset;
    for (const { port } of opened) lab.ports.notify(peer, port);
    lab.memory.words[posts >>> 2] = 0; // the first has its ticket, and has noted nothing yet
    events.deliver();
    expect([...seen].sort((a, b) => a - b)).toEqual(opened.map(({ port }) => port));
    lab.memory.words[posts >>> 2] = opened[0]!.port; // now it has
    expect(lab.ports.waiting(me)).toBe(false);
    lab.ports.notify(peer, opened[1]!.port);
    events.deliver();
    expect(seen.slice(3)).toEqual([opened[1]!.port]);
  });

  test('a sender that dies between the bit and its ticket: the event is found when its death is known', () => {
    const [opened] = open(1);
    lab.memory.words[lab.plan.posted(me) >>> 2] = 1 << opened!.port;
    lab.ports.notify(peer, opened!.port); // as one who raises a device's vector: it is posted already
    expect(lab.ports.waiting(me)).toBe(false);
    lab.destroyDomain(peer);
    expect(lab.ports.waiting(me)).toBe(true);
    events.deliver();
    expect(seen).toEqual([opened!.port]);
  });

  test('what was posted for a port that closed meanwhile is forgotten', () => {
    const [opened] = open(1);
    lab.ports.notify(peer, opened!.port);
    opened!.close();
    lab.ports.send(me, opened!.port); // had looked before the close
    events.deliver();
    expect(seen).toEqual([]);
    const again = events.allocateUnbound(2, () => seen.push(-1));
    events.deliver();
    expect([again.port, seen]).toEqual([opened!.port, []]);
  });
});
