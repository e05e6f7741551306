// The control ring against a backend that answers by hand, and one that lies.
import { BackRing, decode, encode } from '@netaccel/xen';
import type { EventChannel } from '@netaccel/xen';
import {
  CONTROL_RING_SLOTS,
  ControlStatus,
  ControlType,
  HashAlgorithm,
  controlRequest,
  controlResponse,
} from '@netaccel/xen/netif';
import { SimMachine } from '@netaccel/xen/sim';
import { expect, test } from 'vitest';
import { ControlRing } from '../src/control.js';
import { NEAR_WRAP, NOTHING_HELD } from './lab.js';

type Request = Record<string, number>;

function lab() {
  const machine = new SimMachine({ seed: 1, audit: true, pages: 1024 });
  const back = machine.createDomain(0);
  const guest = machine.createDomain(1);
  const breaches: string[] = [];
  const control = new ControlRing(guest, 0, NEAR_WRAP, (reason) => breaches.push(reason));
  const pages = back.foreign.map(1, [control.keys.ref], 'write');
  const ring = new BackRing(back.memory, pages.addresses[0]!, CONTROL_RING_SLOTS, controlRequest.size);
  ring.consumed = ring.produced = NEAR_WRAP;
  const seen: Request[] = [];
  let answer: (request: Request) => Partial<Request> | null = () => ({ status: ControlStatus.success });
  const respond = (values: Partial<Request>): void => {
    back.memory.bytes.set(
      encode(controlResponse, values as Record<string, number>),
      ring.slot(ring.produced),
    );
    ring.produced = (ring.produced + 1) >>> 0;
    if (ring.publish()) channel.notify();
  };
  const channel: EventChannel = back.events.bindInterdomain(1, control.keys.port, () => {
    while (ring.arm() > 0) {
      const at = ring.slot(ring.consumed);
      ring.consumed = (ring.consumed + 1) >>> 0;
      const request = decode(
        controlRequest,
        back.memory.bytes.slice(at, at + controlRequest.size),
      ) as Request;
      seen.push(request);
      const reply = answer(request);
      if (reply !== null) respond({ id: request['id']!, type: request['type']!, ...reply });
    }
    channel.unmask();
  });
  const end = async (): Promise<void> => {
    control.close();
    control.close();
    channel.close();
    pages.unmap();
    await machine.settle(0);
    expect(guest.ledger()).toEqual({ ...NOTHING_HELD, watches: expect.any(Number) as number });
    expect(machine.audit.violations).toEqual([]);
  };
  return {
    machine,
    back,
    control,
    seen,
    breaches,
    respond,
    end,
    answers: (by: typeof answer) => (answer = by),
  };
}

const KEY = Uint8Array.of(1, 2, 3);

test('what is asked, in order: algorithm, types, key, mapping', async () => {
  const { machine, control, seen, answers, breaches, end } = lab();
  answers(({ type }) => ({
    status: 0,
    data: type === ControlType.getHashFlags ? 0b0111 : type === ControlType.getHashMappingSize ? 128 : 0,
  }));
  await machine.settle(0);
  const work = control.hash({ key: KEY, types: 0b1110, mapping: [1, 0] }, 2);
  await machine.settle(0);
  await work;
  expect(control.state).toBe('hashed by the backend');
  expect(seen.map(({ type, data0, data1, data2 }) => [type, data0, data1, data2])).toEqual([
    [ControlType.setHashAlgorithm, HashAlgorithm.toeplitz, 0, 0],
    [ControlType.getHashFlags, 0, 0, 0],
    [ControlType.setHashFlags, 0b0110, 0, 0],
    [ControlType.setHashKey, seen[3]!['data0'], 3, 0],
    [ControlType.getHashMappingSize, 0, 0, 0],
    [ControlType.setHashMappingSize, 2, 0, 0],
    [ControlType.setHashMapping, seen[3]!['data0'], 2, 0],
  ]);
  expect(breaches).toEqual([]);
  await end();
});

test('a refusal at any step: said, and the backend is set back to its own way', async () => {
  for (const [type, what] of [
    [ControlType.setHashAlgorithm, 'algorithm'],
    [ControlType.getHashFlags, 'types'],
    [ControlType.setHashKey, 'key'],
    [ControlType.setHashMappingSize, 'mapping'],
  ] as const) {
    const { machine, control, seen, answers, end } = lab();
    answers((request) => ({ status: request['type'] === type ? ControlStatus.notSupported : 0 }));
    await machine.settle(0);
    const work = control.hash({ key: KEY }, 2);
    await machine.settle(0);
    await work;
    expect(control.state).toBe(`${what}: expected the backend to take it, saw notSupported`);
    expect(seen.at(-1)).toMatchObject({ type: ControlType.setHashAlgorithm, data0: HashAlgorithm.none });
    await end();
  }
});

test('a backend that never answers holds nothing up: the end of the connection is the end of it', async () => {
  const { machine, control, answers, end } = lab();
  answers(() => null);
  await machine.settle(0);
  const work = control.hash({ key: KEY }, 2);
  await machine.settle(1000);
  expect(control.state).toBe('asked');
  await end();
  await work;
  expect(control.state).toBe('the connection ended');
});

test('XSA-376: an answer to nothing, an answer twice, an index that cannot be: the backend is not believed any more', async () => {
  for (const lie of ['unasked', 'wrong id', 'index'] as const) {
    const { machine, back, control, answers, respond, breaches, end } = lab();
    answers(() => (lie === 'wrong id' ? { id: 99, status: 0 } : null));
    await machine.settle(0);
    const work = lie === 'unasked' ? Promise.resolve() : control.hash({ key: KEY }, 2);
    await machine.settle(0);
    if (lie === 'unasked') respond({ id: 1, status: 0 });
    if (lie === 'index') for (let i = 0; i < 5; i++) respond({ id: 1, status: 0 });
    await machine.settle(0);
    await work;
    expect(breaches).toHaveLength(1);
    expect(breaches[0]).toContain('control response');
    // It is over for this ring: nothing more is read or asked.
    respond({ id: 1, status: 0 });
    await control.hash({ key: KEY }, 2);
    expect(breaches).toHaveLength(1);
    expect(back.ledger().mappings).toBe(1);
    await end();
  }
});
