import { describe, expect, test } from 'vitest';
import { FramePool } from '@netaccel/core-hooks';
import { decode } from '@netaccel/xen';
import { ExtraType, RxFlag, extraHash, rxResponse } from '@netaccel/xen/netif';
import { ControlStatus, ControlType, HashAlgorithm, HashType } from '@netaccel/xen/netif';
import { HashSettings, MOST_MAPPING_ENTRIES } from '../src/hash.js';
import { Toeplitz } from '../src/toeplitz.js';
import { Control, end } from './control-ring.js';
import { build } from './frames.js';
import { VifLab } from './lab.js';
import { NEAR_WRAP } from './scripted-frontend.js';

const KEY = Uint8Array.from(
  ('6d5a56da255b0ec24167253d43a38fb0d0ca2bcb' + 'ae7b30b477cb2da38030f20c6a42b73bbeac01fa').match(/../g)!,
  (hex) => parseInt(hex, 16),
);

/** A frame with these addresses (as bytes) and ports. */
function frameOf(
  source: readonly number[],
  destination: readonly number[],
  ports: readonly [number, number],
  protocol: 'tcp' | 'udp' = 'tcp',
): Uint8Array {
  const frame = build({ version: source.length === 4 ? 4 : 6, ports, protocol, payload: new Uint8Array(20) });
  frame.set([...source, ...destination], source.length === 4 ? 26 : 22);
  return frame;
}

const words = (...groups: number[]) => groups.flatMap((group) => [group >>> 8, group & 0xff]);
/** The published vectors of receive-side scaling. */
const vectors = [
  {
    frame: frameOf([66, 9, 149, 187], [161, 142, 100, 80], [2794, 1766]),
    addresses: 0x323e8fc2,
    ports: 0x51ccc178,
    version: 4,
  },
  {
    frame: frameOf([199, 92, 111, 2], [65, 69, 140, 83], [14230, 4739]),
    addresses: 0xd718262a,
    ports: 0xc626b0ea,
    version: 4,
  },
  {
    frame: frameOf(
      words(0x3ffe, 0x2501, 0x200, 0x1fff, 0, 0, 0, 7),
      words(0x3ffe, 0x2501, 0x200, 3, 0, 0, 0, 1),
      [2794, 1766],
    ),
    addresses: 0x2cc18cd5,
    ports: 0x40207d3d,
    version: 6,
  },
];

const SUCCESS = { status: ControlStatus.success };

/** Algorithm, key and flags. */
async function toeplitz(control: Control, flags = 15): Promise<void> {
  control.write(KEY);
  expect(await control.ask(ControlType.setHashAlgorithm, HashAlgorithm.toeplitz)).toMatchObject(SUCCESS);
  expect(await control.ask(ControlType.setHashKey, control.ref, KEY.length)).toMatchObject(SUCCESS);
  expect(await control.ask(ControlType.setHashFlags, flags)).toMatchObject(SUCCESS);
}

async function deliver(lab: VifLab, bytes: Uint8Array): Promise<void> {
  const address = lab.back.pages.allocate(1);
  const frame = new FramePool(1, address, 4096).allocate()!;
  lab.back.memory.bytes.set(bytes, address);
  frame.describe(address, bytes.length);
  lab.netback.deliver(frame);
  lab.netback.flush();
  frame.release();
  await lab.settle();
  lab.back.pages.free(address);
}

describe('Toeplitz', () => {
  for (const { frame, addresses, ports, version } of vectors)
    test(`the published vectors: ${ports.toString(16)}`, () => {
      const hash = new Toeplitz();
      hash.setKey(KEY);
      const [at, length, transport] = version === 4 ? [26, 8, 34] : [22, 32, 54];
      const partial = hash.add(frame, at, length, 0, 0);
      expect(partial >>> 0).toBe(addresses);
      expect(hash.add(frame, transport, 4, length, partial) >>> 0).toBe(ports);
    });

  test('a missing key hashes everything to 0, a short one has zero octets', () => {
    const hash = new Toeplitz();
    expect(hash.add(KEY, 0, 36, 0, 0)).toBe(0);
    hash.setKey(KEY.subarray(0, 4));
    expect(hash.add(Uint8Array.of(0x80), 0, 1, 0, 0) >>> 0).toBe(0x6d5a56da);
    expect(hash.add(Uint8Array.of(1), 0, 1, 8, 0)).toBe(0);
  });
});

test('every message, answered one for one in order, over the wrap', async () => {
  const both = await Control.make();
  const { control } = both;
  expect(await control.ask(ControlType.getHashFlags)).toMatchObject({ status: ControlStatus.notSupported });
  expect(await control.ask(ControlType.setHashFlags, 1)).toMatchObject({
    status: ControlStatus.invalidParameter,
  });
  expect(await control.ask(ControlType.setHashAlgorithm, 2)).toMatchObject({
    status: ControlStatus.invalidParameter,
  });
  await toeplitz(control);
  expect(await control.ask(ControlType.getHashFlags)).toEqual({ status: 0, data: 15 });
  expect(await control.ask(ControlType.setHashFlags, 16)).toMatchObject({
    status: ControlStatus.invalidParameter,
  });
  expect(await control.ask(ControlType.getHashMappingSize)).toEqual({
    status: 0,
    data: MOST_MAPPING_ENTRIES,
  });
  for (const type of [ControlType.invalid, 11, 0xffff])
    expect(await control.ask(type)).toMatchObject({ status: ControlStatus.notSupported, data: 0 });
  const ids = Array.from({ length: 100 }, () => control.put(ControlType.getHashMappingSize));
  expect((await control.publish()).map(({ id }) => id)).toEqual(ids);
  await end(both);
});

test('a hashed frame carries its hash as extra info, in bytes; the most specific type wins', async () => {
  const both = await Control.make(1);
  const { lab, control } = both;
  const { queue } = lab.frontend;
  queue.post(16);
  const seen: unknown[] = [];
  for (const flags of [0, HashType.ipv4, HashType.ipv4Tcp, HashType.ipv4 | HashType.ipv4Tcp, HashType.ipv6]) {
    await toeplitz(control, flags);
    await deliver(lab, vectors[0]!.frame);
    const raw = queue.rawResponses();
    const head = decode(rxResponse, raw[0]!.bytes) as Record<string, number>;
    if (raw.length === 1) seen.push([flags, head['flags']]);
    else seen.push([flags, head['flags'], [...raw[1]!.bytes]]);
  }
  expect(seen).toEqual([
    [0, 0],
    [1, RxFlag.extraInfo, [ExtraType.hash, 0, 0, 1, 0xc2, 0x8f, 0x3e, 0x32]],
    [2, RxFlag.extraInfo, [ExtraType.hash, 0, 1, 1, 0x78, 0xc1, 0xcc, 0x51]],
    [3, RxFlag.extraInfo, [ExtraType.hash, 0, 1, 1, 0x78, 0xc1, 0xcc, 0x51]],
    [4, 0],
  ]);
  expect(extraHash.fields.value.offset).toBe(4);
  await end(both);
});

test('the mapping spreads frames over the queues; without one the hash itself does', async () => {
  const both = await Control.make(4);
  const { lab, control } = both;
  for (const queue of lab.frontend.queues) queue.post(16);
  await toeplitz(control);
  const queueOf = async (bytes: Uint8Array) => {
    await deliver(lab, bytes);
    return lab.frontend.queues.map((queue) => queue.rawResponses().length).findIndex((n) => n > 0);
  };
  for (const { frame, ports } of vectors) expect(await queueOf(frame)).toBe(ports % 4);
  const table = Uint32Array.from({ length: 128 }, (_, i) => (i * 3) % 4);
  control.write(new Uint8Array(table.buffer));
  expect(await control.ask(ControlType.setHashMappingSize, 128)).toMatchObject(SUCCESS);
  for (const { frame } of vectors) expect(await queueOf(frame)).toBe(0);
  expect(await control.ask(ControlType.setHashMapping, control.ref, 128, 0)).toMatchObject(SUCCESS);
  for (const { frame, ports } of vectors) expect(await queueOf(frame)).toBe(table[ports % 128]);
  // A part leaves the rest.
  control.write(new Uint8Array(Uint32Array.of(2).buffer));
  expect(await control.ask(ControlType.setHashMapping, control.ref, 1, 5)).toMatchObject(SUCCESS);
  for (const { frame, ports } of vectors) expect(await queueOf(frame)).toBe(table[ports % 128]);
  // A frame without a hash counts as hash 0.
  expect(await queueOf(new Uint8Array(60))).toBe(table[0]);
  await end(both);
});

test('XSA-270: no mapping request reaches outside the mapping, whatever its numbers', async () => {
  const both = await Control.make(2);
  const { control } = both;
  await toeplitz(control);
  control.write(new Uint8Array(4096));
  expect(await control.ask(ControlType.setHashMappingSize, MOST_MAPPING_ENTRIES + 1)).toMatchObject({
    status: 2,
  });
  expect(await control.ask(ControlType.setHashMappingSize, 0xffff_ffff)).toMatchObject({ status: 2 });
  expect(await control.ask(ControlType.setHashMappingSize, 64)).toMatchObject(SUCCESS);
  for (const [entries, offset] of [
    [65, 0],
    [1, 64],
    [0xffff_ffff, 1],
    [1, 0xffff_ffff],
    [0x8000_0000, 0x8000_0000],
    [0xffff_ffff, 0xffff_ffff],
    [64, 1],
    [1024, 0],
  ])
    expect(await control.ask(ControlType.setHashMapping, control.ref, entries!, offset!)).toMatchObject({
      status: 2,
    });
  expect(await control.ask(ControlType.setHashMapping, control.ref, 64, 0)).toMatchObject(SUCCESS);
  expect(await control.ask(ControlType.setHashMapping, control.ref, 0, 64)).toMatchObject(SUCCESS);
  // An entry that is no queue refuses all of them.
  control.write(new Uint8Array(Uint32Array.of(1, 2).buffer));
  expect(await control.ask(ControlType.setHashMapping, control.ref, 2, 0)).toMatchObject({ status: 2 });
  // Neither does a key.
  expect(await control.ask(ControlType.setHashKey, control.ref, 41)).toMatchObject({ status: 3 });
  expect(await control.ask(ControlType.setHashKey, control.ref, 0xffff_ffff)).toMatchObject({ status: 3 });
  expect(await control.ask(ControlType.setHashKey, 0xffff_fff0, 40)).toMatchObject({ status: 2 });
  expect(await control.ask(ControlType.setHashKey, 0xffff_fff0, 0)).toMatchObject(SUCCESS);
  await end(both);
});

test('XSA-39: a producer index beyond the control ring fences the vif', async () => {
  const both = await Control.make(1);
  const { lab, control } = both;
  lab.guest.memory.words[control.page.address >>> 2] = (NEAR_WRAP + 129) >>> 0;
  control.channel.notify();
  await lab.settle();
  expect(lab.states.at(-1)).toBe('Closing');
  expect(lab.netback.describe()).toMatchObject({ reason: expect.stringContaining('control') as string });
  await end(both);
});

test('a control ring without its channel is refused; one that was not offered is left alone', async () => {
  const lab = await VifLab.make({ pages: 2048 });
  const control = new Control(lab, 'read');
  await lab.run(lab.netback.start());
  await lab.run(
    lab.frontend.connect({ pages: 16, keys: { 'ctrl-ring-ref': control.keys['ctrl-ring-ref']! } }),
  );
  await lab.settle();
  expect(lab.states.at(-1)).toBe('Closing');
  await end({ lab, control });

  const without = await VifLab.make({ pages: 2048, netback: { features: { controlRing: false } } });
  const unused = new Control(without, 'read');
  await without.run(without.netback.start());
  expect(await without.key('feature-ctrl-ring')).toBe('0');
  await without.run(without.frontend.connect({ pages: 16, keys: unused.keys }));
  await without.settle();
  expect(without.back.ledger()).toMatchObject({ mappings: 2, ports: 1 });
  await end({ lab: without, control: unused });
});

test('hash settings: turning the algorithm off gives the choice back', () => {
  const hash = new HashSettings(4);
  expect(hash.chosen).toBe(false);
  hash.setAlgorithm(HashAlgorithm.toeplitz);
  hash.setMappingSize(3);
  expect(hash.chosen).toBe(true);
  expect(hash.mappingSize).toBe(3);
  hash.setAlgorithm(HashAlgorithm.none);
  expect(hash.chosen).toBe(false);
});
