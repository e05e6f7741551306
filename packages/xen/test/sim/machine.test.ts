import { describe, expect, test } from 'vitest';
import { SimMachine } from '../../src/sim/index.js';

describe('a one-thread machine', () => {
  test('two domains meet through store, grant and event channel, and part with empty ledgers', async () => {
    const machine = new SimMachine({ seed: 7, audit: true });
    const back = machine.createDomain(0);
    const guest = machine.createDomain(1);
    const heard: string[] = [];

    const pages = guest.grants.share(0, 2, 'write');
    const end = guest.events.allocateUnbound(0, () => {
      heard.push('guest');
      end.unmask();
    });
    const home = '/local/domain/1/data';
    const written = back.store
      .mkdir(home)
      .then(() => back.store.setPermissions(home, [{ domid: 1, access: 'none' }]))
      .then(() => guest.store.write('data/ref', String(pages.refs[0])));
    await machine.settle();
    await written;

    const read = back.store.read('/local/domain/1/data/ref');
    await machine.settle();
    const mapped = back.foreign.map(1, [Number(await read), pages.refs[1]!], 'write');
    const other = back.events.bindInterdomain(1, end.port, () => {
      heard.push('back');
      other.unmask();
    });
    await machine.settle();
    expect(heard).toEqual(['back']);
    back.memory.words[mapped.addresses[1]! >>> 2] = 42;
    other.notify();
    await machine.settle();
    expect(heard).toEqual(['back', 'guest']);
    expect(guest.memory.words[(pages.address + 4096) >>> 2]).toBe(42);

    expect(pages.release()).toBe(false);
    expect(guest.ledger().grants).toBe(2);
    mapped.unmap();
    expect(pages.release()).toBe(true);
    other.close();
    end.close();
    const nothing = { pages: 0, grants: 0, mappings: 0, ports: 0, watches: 0, timers: 0, tasks: 0 };
    expect(guest.ledger()).toEqual(nothing);
    expect(back.ledger()).toEqual(nothing);
    expect(machine.audit.violations).toEqual([]);
  });
});

const small = { pages: 2048, domains: 4, ports: 64 };

describe('registers', () => {
  test('a write is stored and reaches the handler of that page in the same call', () => {
    const machine = new SimMachine(small);
    const back = machine.createDomain(0);
    const guest = machine.createDomain(1);
    const bar = back.grants.share(1, 1, 'write');
    const writes: [number, number, number][] = [];
    const end = machine.onRegisterWrite(bar.address, (offset, value) =>
      writes.push([offset, value, machine.memory.words[(bar.address + offset) >>> 2]!]),
    );
    const registers = guest.foreign.mapRegisters(0, bar.refs[0]!, 1);
    registers.write32(0x40, 0xdeadbeef);
    registers.write32(4092, -1);
    expect(writes).toEqual([
      [0x40, 0xdeadbeef, 0xdeadbeef],
      [4092, -1, 0xffffffff],
    ]);
    expect(registers.read32(0x40)).toBe(0xdeadbeef);
    for (const offset of [-4, 2, 4096, 1.5]) expect(() => registers.write32(offset, 0)).toThrow(RangeError);
    expect(() => registers.read32(4096)).toThrow(RangeError);
    expect(bar.release()).toBe(false);
    registers.unmap();
    registers.unmap();
    end();
    expect(bar.release()).toBe(true);
    expect(guest.ledger().mappings).toBe(0);
  });

  test('without a handler in this thread the doorbell is notified', async () => {
    const machine = new SimMachine(small);
    const back = machine.createDomain(0);
    const guest = machine.createDomain(1);
    const bar = back.grants.share(1, 1, 'write');
    let rings = 0;
    const bell = back.events.allocateUnbound(1, () => {
      rings++;
      bell.unmask();
    });
    guest.events.bindInterdomain(0, bell.port, () => undefined);
    const registers = guest.foreign.mapRegisters(0, bar.refs[0]!, bell.port);
    registers.write32(8, 5);
    registers.write32(8, 6);
    await machine.settle();
    expect([rings, back.memory.words[(bar.address + 8) >>> 2]]).toEqual([1, 6]);
  });

  test('are checked as any grant is', () => {
    const machine = new SimMachine(small);
    const back = machine.createDomain(0);
    const guest = machine.createDomain(1);
    const readonly = back.grants.share(1, 1, 'read');
    expect(() => guest.foreign.mapRegisters(0, readonly.refs[0]!, 1)).toThrow(
      expect.objectContaining({ code: 'BAD_GRANT' }),
    );
  });
});

describe('hosts of one lab', () => {
  test('share memory and clock, and have domain numbers and a store of their own', async () => {
    const one = new SimMachine({ ...small, name: 'one' });
    const two = new SimMachine({ lab: one.lab, name: 'two' });
    const a = one.createDomain(0);
    const b = two.createDomain(0);
    const guest = one.createDomain(1);
    void a.store.write('/tool/x', 'one');
    void b.store.write('/tool/x', 'two');
    await one.settle();
    const values = Promise.all([a.store.read('/tool/x'), b.store.read('/tool/x')]);
    await two.settle();
    expect(await values).toEqual(['one', 'two']);
    expect(two.clock.now()).toBe(one.clock.now());
    expect(one.memory).toBe(two.memory);
    // A number of another host means nothing here.
    const shared = guest.grants.share(0, 1, 'write');
    expect(() => b.foreign.map(1, shared.refs, 'read')).toThrow(/badDomain/);
    a.foreign.map(1, shared.refs, 'read').unmap();
    expect(() => one.createDomain(0)).toThrow(expect.objectContaining({ code: 'CLOSED' }));
  });
});

describe('a domain that dies', () => {
  test('is forgotten by the store, and nothing of it runs again', async () => {
    const machine = new SimMachine(small);
    const back = machine.createDomain(0);
    const guest = machine.createDomain(1);
    await machine.settle();
    const ran: string[] = [];
    const released: string[] = [];
    const watch = back.store.watch('@releaseDomain', () => released.push('released'));
    await machine.settle();
    await watch;
    const before = released.length;
    guest.loop.after(1, () => ran.push('timer'));
    const task = guest.loop.task(() => (ran.push('task'), false));
    task.raise();
    const pending = guest.store.read('data/x').catch((error: unknown) => (error as { code: string }).code);
    machine.destroyDomain(1);
    task.raise();
    guest.loop.after(1, () => ran.push('timer'));
    await machine.settle();
    expect(ran).toEqual([]);
    expect(released.length).toBe(before + 1);
    expect(await pending).toBe('ECLOSED');
    expect(machine.storeServer.describe().introduced).toEqual([0]);
    expect(() => machine.destroyDomain(1)).toThrow(expect.objectContaining({ code: 'CLOSED' }));
  });

  test('domain 0 dies too: the store stays', async () => {
    const machine = new SimMachine(small);
    machine.createDomain(0);
    await machine.settle();
    machine.destroyDomain(0);
    const again = machine.createDomain(0);
    const write = again.store.write('/tool/x', '1');
    await machine.settle();
    await write;
  });
});

test('store messages are delayed where a fault says so, in order', async () => {
  let delay: number | undefined;
  const machine = new SimMachine({ ...small, stepMs: 0, faults: { storeMessage: () => delay } });
  const { store, loop } = machine.createDomain(0);
  await machine.settle();
  const order: string[] = [];
  delay = 7;
  const first = store.write('/tool/a', '1').then(() => order.push(`a ${loop.now()}`));
  delay = undefined;
  const second = store.write('/tool/b', '1').then(() => order.push(`b ${loop.now()}`));
  await machine.settle();
  await Promise.all([first, second]);
  expect(order).toEqual(['a 7', 'b 7']);
});

test('a machine describes itself, and keeps what domains log, within a limit', async () => {
  const machine = new SimMachine({ ...small, name: 'left', seed: 5 });
  const domain = machine.createDomain(3, 'web');
  await machine.settle();
  for (let i = 0; i < 100; i++) domain.log('info', `line ${i}`);
  expect(machine.lines).toHaveLength(50);
  await machine.advance(1000);
  domain.log('warn', 'late');
  expect(machine.lines.at(-1)).toMatchObject({ host: 'left', domain: 3, level: 'warn', message: 'late' });
  expect(machine.lines.at(-2)?.message).toBe('50 lines left out');
  expect(machine.describe()).toMatchObject({
    name: 'left',
    seed: 5,
    domains: [{ id: 3, name: 'web', state: 'running', ports: 0 }],
  });
});
