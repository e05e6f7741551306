// The control mailbox: what travels, the rule by which replies always fit, deadlines, and peers that lie.
import { MAILBOX_PAYLOAD_BYTES } from '@netaccel/core-hooks';
import type { MailboxReply, MailboxError } from '@netaccel/core-hooks';
import { beforeEach, describe, expect, test } from 'vitest';
import {
  MAILBOX_OUTSTANDING,
  MAILBOX_SLOTS,
  MAILBOX_START,
  attachMailbox,
  encode,
  mailboxControl,
  mailboxSlot,
  openMailbox,
} from '../src/index.js';
import type { MailboxEnd } from '../src/index.js';
import type { Faults, SimDomain } from '../src/sim/index.js';
import { SimMachine } from '../src/sim/index.js';

const small = { pages: 2048, domains: 4, ports: 64 };
const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);
const ok = (...values: number[]): MailboxReply => ({ ok: true, payload: bytes(...values) });

let faults: Faults;
let machine: SimMachine;
let guest: SimDomain;
let back: SimDomain;
let mine: MailboxEnd;
let theirs: MailboxEnd;
let ended: string[];
/** Address of the first page, and of the slots. */
let control: number;
let slots: number;

beforeEach(async () => {
  faults = {};
  machine = new SimMachine({ ...small, faults, seed: 11 });
  back = machine.createDomain(0);
  guest = machine.createDomain(1);
  ended = [];
  const opened = openMailbox(guest, 0, { onEnded: ({ code }) => ended.push(`guest ${code}`) });
  mine = opened.mailbox;
  const probe = back.foreign.map(1, opened.refs, 'read');
  [control, slots] = [...probe.addresses] as [number, number];
  probe.unmap();
  theirs = attachMailbox(back, 1, opened, { onEnded: ({ code }) => ended.push(`back ${code}`) });
  await machine.settle();
});

/** What a promise came to, once all is quiet. */
async function outcome(promise: Promise<MailboxReply>): Promise<unknown> {
  const result = promise.then(
    (reply) => [reply.ok, ...reply.payload],
    (error: unknown) => (error as MailboxError).code,
  );
  await machine.settle();
  return result;
}

const word = (field: keyof typeof mailboxControl.fields): number =>
  (control + mailboxControl.fields[field].offset) >>> 2;

const noLeak = { pages: 0, grants: 0, mappings: 0, ports: 0, watches: 0, timers: 0, tasks: 0 };

describe('a request', () => {
  test('is answered, either way, with the payload copied', async () => {
    const seen: number[][] = [];
    theirs.handle(7, (payload) => {
      seen.push([...payload]);
      return ok(...payload, 9);
    });
    mine.handle(200, () => ({ ok: false, payload: bytes(4) }));
    const payload = bytes(1, 2);
    const asked = mine.request(7, payload);
    payload.fill(99);
    expect(await outcome(asked)).toEqual([true, 1, 2, 9]);
    expect(seen).toEqual([[1, 2]]);
    expect(await outcome(theirs.request(200, bytes()))).toEqual([false, 4]);
    expect(mine.counters).toMatchObject({ sent: 1, replies: 1, answered: 1 });
  });

  test('lies in the slot as the table says, the rest zero', async () => {
    theirs.handle(7, () => ok());
    machine.memory.bytes.fill(0xee, slots, slots + 4096);
    const asked = mine.request(7, bytes(1, 2, 3));
    const at = slots + 2048 + (MAILBOX_START % MAILBOX_SLOTS) * mailboxSlot.size;
    const expected = encode(mailboxSlot, {
      kind: 1,
      type: 7,
      length: 3,
      id: MAILBOX_START,
      payload: [1, 2, 3],
    });
    expect([...machine.memory.bytes.slice(at, at + 128)]).toEqual([...expected]);
    expect(await outcome(asked)).toEqual([true]);
  });

  test('of the largest size fits, and one byte more does not', async () => {
    theirs.handle(1, (payload) => ({ ok: true, payload }));
    const largest = Uint8Array.from({ length: MAILBOX_PAYLOAD_BYTES }, (_, i) => i);
    expect(await outcome(mine.request(1, largest))).toEqual([true, ...largest]);
    expect(await outcome(mine.request(1, new Uint8Array(MAILBOX_PAYLOAD_BYTES + 1)))).toBe('TOO_LONG');
    await expect(mine.request(256, bytes())).rejects.toThrow(RangeError);
  });

  test('of a type that nobody handles is answered with an error, and counted', async () => {
    expect(await outcome(mine.request(3, bytes(1)))).toEqual([false]);
    expect(theirs.counters).toMatchObject({ answered: 1, unknownTypes: 1 });
  });

  test('whose handler throws, or answers too much, is answered with an error', async () => {
    theirs.handle(1, () => {
      throw new Error('no');
    });
    theirs.handle(2, () => Promise.reject(new Error('no')));
    theirs.handle(3, () => ({ ok: true, payload: new Uint8Array(113) }));
    theirs.handle(4, () => undefined as unknown as MailboxReply);
    for (const type of [1, 2, 3, 4]) expect(await outcome(mine.request(type, bytes()))).toEqual([false]);
    expect(theirs.counters.handlerErrors).toBe(4);
    expect(machine.lines.map(({ level }) => level)).toEqual(['error', 'error', 'error', 'error']);
  });

  test('from within a handler of the other side’s request does not wait for itself', async () => {
    mine.handle(1, async (payload) => {
      const inner = await mine.request(2, payload);
      return ok(...inner.payload, 1);
    });
    theirs.handle(2, (payload) => ok(...payload, 2));
    const asked = Array.from({ length: 20 }, (_, i) => theirs.request(1, bytes(i)));
    const results = await Promise.all(asked.map(outcome));
    expect(results).toEqual(Array.from({ length: 20 }, (_, i) => [true, i, 2, 1]));
  });

  test('hole 2.16 #5: is handled in the order sent, one after the other, thousands of them both ways', async () => {
    const order: number[] = [];
    let inside = 0;
    theirs.handle(1, async (payload) => {
      expect(++inside).toBe(1);
      await new Promise<void>((resolve) => void back.loop.after(payload[0]! % 3, resolve));
      order.push(payload[0]! | (payload[1]! << 8));
      inside--;
      return ok(...payload);
    });
    mine.handle(1, (payload) => ok(...payload));
    const results: Promise<unknown>[] = [];
    for (let base = 0; base < 2000; base += 40) {
      for (let i = base; i < base + 40; i++) {
        results.push(mine.request(1, bytes(i & 255, i >>> 8), 60_000));
        results.push(theirs.request(1, bytes(i & 255), 60_000));
      }
      await machine.settle();
    }
    await Promise.all(results);
    expect(order).toEqual(Array.from({ length: 2000 }, (_, i) => i));
    expect(mine.counters).toMatchObject({ sent: 2000, replies: 2000, answered: 2000, strayReplies: 0 });
    expect(machine.memory.words[word('guest_produced')]).toBe((MAILBOX_START + 4000) >>> 0);
  });
});

describe('a peer that does not answer', () => {
  test('costs the call at its deadline; half a ring of them and nothing more is sent', async () => {
    theirs.handle(1, () => new Promise(() => undefined));
    const asked = Array.from({ length: MAILBOX_OUTSTANDING + 1 }, () => mine.request(1, bytes(), 100));
    const results = asked.map((call) => outcome(call));
    expect((await Promise.all(results)).slice(-2)).toEqual(['TIMEOUT', 'FULL']);
    expect(mine.counters).toMatchObject({ sent: MAILBOX_OUTSTANDING, timeouts: MAILBOX_OUTSTANDING + 1 });
    expect(await outcome(mine.request(1, bytes(), 5))).toBe('FULL');
    mine.close();
    expect(guest.ledger().timers).toBe(0);
  });

  test('hole 2.16 #22: but answers late is not disturbed, and there is room again', async () => {
    const release: (() => void)[] = [];
    theirs.handle(1, () => new Promise((resolve) => release.push(() => resolve(ok(1)))));
    const asked = Array.from({ length: MAILBOX_OUTSTANDING }, () => mine.request(1, bytes(), 10));
    expect(await Promise.all(asked.map(outcome))).toEqual(asked.map(() => 'TIMEOUT'));
    for (let i = 0; i < MAILBOX_OUTSTANDING; i++) {
      release[i]!();
      await machine.settle();
    }
    expect(mine.counters).toMatchObject({ lateReplies: MAILBOX_OUTSTANDING, strayReplies: 0 });
    const again = mine.request(1, bytes());
    await machine.settle(0);
    release.at(-1)!();
    expect(await outcome(again)).toEqual([true, 1]);
  });

  test('does not let calls pile up here', async () => {
    theirs.handle(1, () => new Promise(() => undefined));
    const asked = Array.from({ length: 100 }, () =>
      mine.request(1, bytes()).catch((e: unknown) => (e as MailboxError).code),
    );
    expect(await asked[99]).toBe('FULL');
    await machine.settle(0);
    expect(mine.describe()).toMatchObject({ state: 'open', outstanding: 8, waiting: 64 });
    mine.close();
    expect(await asked[0]).toBe('CLOSED');
    expect(await asked[50]).toBe('CLOSED');
  });
});

describe('an end that closes', () => {
  test('rejects what is pending on both sides, and all is given back', async () => {
    theirs.handle(1, () => new Promise(() => undefined));
    const results = [mine.request(1, bytes()), theirs.request(1, bytes())].map((call) =>
      call.catch((error: unknown) => (error as MailboxError).code),
    );
    mine.close();
    mine.close();
    await machine.settle();
    expect(await Promise.all(results)).toEqual(['CLOSED', 'CLOSED']);
    expect(ended).toEqual(['back CLOSED']);
    await expect(mine.request(1, bytes())).rejects.toMatchObject({ code: 'CLOSED' });
    await expect(theirs.request(1, bytes())).rejects.toMatchObject({ code: 'CLOSED' });
    expect(guest.ledger()).toMatchObject({ ports: 0, timers: 0, tasks: 0, grants: 2 }); // still mapped there
    theirs.close();
    expect(guest.ledger()).toEqual(noLeak);
    expect(back.ledger()).toEqual(noLeak);
  });

  test('has its last words heard', async () => {
    mine.handle(1, () => ok(5));
    const asked = theirs.request(1, bytes());
    machine.pauseDomain(0);
    await machine.settle(0);
    expect(mine.counters.answered).toBe(1);
    mine.close();
    machine.resumeDomain(0);
    expect(await outcome(asked)).toEqual([true, 5]);
    expect(ended).toEqual(['back CLOSED']);
  });

  test('and a peer that dies: calls end at their deadline, all is given back', async () => {
    machine.destroyDomain(0);
    expect(await outcome(mine.request(1, bytes(), 20))).toBe('TIMEOUT');
    mine.close();
    expect(guest.ledger()).toEqual(noLeak);
  });
});

describe('a hostile peer', () => {
  /** The backend writes a message and says that there are `more` more. */
  function forge(
    message: Parameters<typeof encode<keyof typeof mailboxSlot.fields>>[1],
    index = 0,
    more = 1,
  ): void {
    const at = slots + ((MAILBOX_START + index) % MAILBOX_SLOTS) * mailboxSlot.size;
    machine.memory.bytes.set(encode(mailboxSlot, message), at);
    machine.memory.words[word('backend_produced')] = MAILBOX_START + index + more;
  }
  const kick = async (): Promise<void> => {
    machine.raise(back.events.vector({ port: 1 } as never));
    await machine.settle(0);
  };

  test.each([1 + MAILBOX_SLOTS, 0x7fff_ffff, 0xffff_ffff])(
    'hole 2.16 #1: claims %i more messages',
    async (more) => {
      const asked = mine.request(1, bytes()).catch((error: unknown) => (error as MailboxError).code);
      forge({ kind: 1 }, 0, more);
      await kick();
      expect(await asked).toBe('BREACH');
      expect(ended).toEqual(['guest BREACH']);
      await expect(mine.request(1, bytes())).rejects.toMatchObject({ code: 'BREACH' });
      mine.close();
      theirs.close();
      expect([guest.ledger(), back.ledger()]).toEqual([noLeak, noLeak]);
    },
  );

  test.each([
    ['a length beyond the slot', { kind: 1, type: 1, length: 113 }],
    ['an absurd length', { kind: 2, type: 1, length: 0xffff }],
    ['no kind', { kind: 0 }],
    ['an unknown kind', { kind: 255 }],
  ])('sends %s', async (_, message) => {
    forge(message);
    await kick();
    expect(ended).toEqual(['guest BREACH']);
  });

  test('XSA-86: claims to have taken more than was sent', async () => {
    machine.memory.words[word('backend_consumed')] = MAILBOX_START + 5;
    await expect(mine.request(1, bytes())).rejects.toMatchObject({ code: 'BREACH' });
  });

  test('XSA-86: has more requests without a reply than the rule allows', async () => {
    mine.handle(1, () => new Promise(() => undefined));
    for (let i = 0; i < MAILBOX_OUTSTANDING; i++) forge({ kind: 1, type: 1, id: i }, i);
    await kick();
    expect(ended).toEqual([]);
    forge({ kind: 1, type: 1, id: 99 }, MAILBOX_OUTSTANDING);
    await kick();
    expect(ended).toEqual(['guest BREACH']);
  });

  test('sends requests and takes no reply: the ring is never overwritten', async () => {
    mine.handle(1, () => ok(1));
    machine.memory.words[word('backend_consumed')] = MAILBOX_START;
    back.events.allocateUnbound(1, () => undefined);
    theirs.close(); // nobody takes; the forger goes on
    for (let i = 0; i <= MAILBOX_SLOTS && ended.length === 0; i++) {
      machine.memory.words[word('backend_closed')] = 0;
      forge({ kind: 1, type: 1, id: i }, i);
      mine.event();
      await machine.settle(0);
    }
    expect(ended).toEqual(['guest BREACH']);
    expect(machine.memory.words[word('guest_produced')]).toBe((MAILBOX_START + MAILBOX_SLOTS) >>> 0);
  });

  test('sends replies to nothing: counted, and past a limit it is over', async () => {
    for (let i = 0; i < 16; i++) {
      forge({ kind: 2, id: 77 }, i);
      await kick();
    }
    expect(ended).toEqual([]);
    expect(mine.counters.strayReplies).toBe(16);
    forge({ kind: 3, id: 77 }, 16);
    await kick();
    expect(ended).toEqual(['guest BREACH']);
  });

  test('answers one request twice: the second goes nowhere', async () => {
    const asked = mine.request(1, bytes());
    forge({ kind: 2, id: MAILBOX_START, length: 1, payload: [6] }, 0);
    forge({ kind: 2, id: MAILBOX_START, length: 1, payload: [7] }, 1);
    await kick();
    expect(await asked).toMatchObject({ ok: true, payload: bytes(6) });
    expect(mine.counters.strayReplies).toBeGreaterThan(0);
  });

  test('changes a slot after it was taken: what was judged is what is used', async () => {
    const seen: number[][] = [];
    mine.handle(1, async (payload) => {
      await new Promise<void>((resolve) => void guest.loop.after(1, resolve));
      seen.push([...payload]);
      return ok();
    });
    forge({ kind: 1, type: 1, id: 0, length: 2, payload: [1, 2] });
    await kick();
    forge({ kind: 1, type: 1, id: 0, length: 2, payload: [8, 9] });
    await machine.advance(5);
    expect(seen).toEqual([[1, 2]]);
  });

  test('hole 2.16 #4: storms without a message: held back', async () => {
    const end = machine.clock.now() + 1000;
    while (machine.clock.now() < end) {
      machine.raise(back.events.vector({ port: 1 } as never));
      await machine.advance(1);
    }
    expect(mine.counters.spurious).toBeLessThan(100);
    expect(ended).toEqual([]);
  });
});

describe('pages and ports that are not what they should be', () => {
  test('are refused, and nothing is left', () => {
    const { mailbox, refs, port } = openMailbox(guest, 0);
    const breach = expect.objectContaining({ code: 'BREACH' }) as Error;
    expect(() => attachMailbox(back, 1, { refs: refs.slice(0, 1), port })).toThrow(breach);
    const [one, two] = refs as unknown as [number, number];
    expect(() => attachMailbox(back, 1, { refs: [two, one], port })).toThrow(breach);
    expect(() => attachMailbox(back, 1, { refs: [one, 500], port })).toThrow(
      expect.objectContaining({ code: 'BAD_GRANT' }),
    );
    expect(() => attachMailbox(back, 1, { refs, port: 60 })).toThrow(
      expect.objectContaining({ code: 'BAD_PORT' }),
    );
    expect(back.ledger()).toMatchObject({ mappings: 2, ports: 1, tasks: 1 });
    mailbox.close();
    faults.exhausted = (_domain, what) => what === 'ports';
    expect(() => openMailbox(guest, 0)).toThrow(expect.objectContaining({ code: 'NO_PORTS' }));
    faults.exhausted = (_domain, what) => what === 'grants';
    expect(() => openMailbox(guest, 0)).toThrow(expect.objectContaining({ code: 'NO_GRANTS' }));
    expect(guest.ledger()).toMatchObject({ grants: 2, ports: 1, tasks: 1 });
  });
});

test('events that are lost cost a call its deadline, and the next one gets all through', async () => {
  theirs.handle(1, (payload) => ok(...payload));
  let lose = true;
  faults.event = () => (lose ? 'lose' : undefined);
  expect(await outcome(mine.request(1, bytes(1), 50))).toBe('TIMEOUT');
  lose = false;
  expect(await outcome(mine.request(1, bytes(2)))).toEqual([true, 2]);
  expect(mine.counters.lateReplies).toBe(1);
});
