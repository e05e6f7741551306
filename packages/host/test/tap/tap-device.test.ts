/** The frame path against a scripted kernel: what it shows the kernel, and what it makes of the answers. */
import { constants } from 'node:os';
import { beforeEach, describe, expect, test } from 'vitest';
import { IoVector } from '../../src/tap/io-vector.js';
import { TapDevice, VnetFlag, VnetHeader, VnetSegmentation } from '../../src/tap/index.js';
import { ScriptedLibc } from './scripted-libc.js';

const { EAGAIN, EINTR, EINVAL, EIO, EMSGSIZE } = constants.errno;
const EBADFD = 77;
/** linux/virtio_net.h: a TCPv4 segment of 1448 bytes payload behind 66 of header, checksum blank. */
const SEGMENT_HEADER = [1, 1, 66, 0, 0xa8, 5, 34, 0, 16, 0];
const PLAIN_HEADER = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

describe('VnetHeader', () => {
  test('reads and writes the layout of linux/virtio_net.h', () => {
    const header = new VnetHeader();
    header.load(new DataView(Uint8Array.from(SEGMENT_HEADER).buffer));
    expect(header).toMatchObject({
      flags: VnetFlag.needsChecksum,
      segmentation: VnetSegmentation.tcpv4,
      headerBytes: 66,
      segmentBytes: 1448,
      checksumStart: 34,
      checksumOffset: 16,
    });
    const copy = new VnetHeader();
    copy.copyFrom(header);
    const written = new Uint8Array(10);
    copy.store(new DataView(written.buffer));
    expect([...written]).toEqual(SEGMENT_HEADER);
    copy.clear();
    copy.store(new DataView(written.buffer));
    expect([...written]).toEqual(PLAIN_HEADER);
  });
});

describe('IoVector', () => {
  test('holds the whole of an address across 2^32, refuses a place too many, and starts anew', () => {
    const libc = new ScriptedLibc(2 ** 33 - 2 ** 24 - 8);
    const vector = new IoVector(libc, new Uint8Array(64), 2, 0);
    expect([vector.add(4, 2), vector.add(16, 3), vector.add(0, 1)]).toEqual([true, true, false]);
    expect([vector.count, vector.bytes]).toEqual([2, 5]);
    const words = new Uint32Array(libc.at(vector.address, 32).slice().buffer);
    expect([...words]).toEqual([2 ** 32 - 4, 1, 2, 0, 8, 2, 3, 0]);
    vector.clear();
    expect([vector.count, vector.bytes]).toEqual([0, 0]);
  });
});

describe('TapDevice', () => {
  let libc: ScriptedLibc;
  let memory: Uint8Array;
  let device: TapDevice;

  beforeEach(() => {
    libc = new ScriptedLibc();
    memory = new Uint8Array(256);
    device = new TapDevice(libc, { name: 'eth0', descriptor: 7 }, memory, 3);
  });

  test('reads a frame to one place and its header apart', () => {
    libc.answers.set('readv', (descriptor, address, count) => {
      expect(descriptor).toBe(7);
      return libc.scatter(address, count, [...SEGMENT_HEADER, 11, 12, 13]);
    });
    expect(device.readInto(100, 50)).toBe(3);
    expect([...memory.subarray(99, 104)]).toEqual([0, 11, 12, 13, 0]);
    expect(device.readHeader).toMatchObject({ segmentBytes: 1448, checksumStart: 34 });
    expect(device.statistics).toMatchObject({ framesRead: 1, bytesRead: 3, readTooLarge: 0 });
  });

  test('spreads a frame over pieces, and takes one that fills them to the byte', () => {
    libc.answers.set('readv', (_, address, count) =>
      libc.scatter(address, count, [...PLAIN_HEADER, 1, 2, 3, 4, 5]),
    );
    device.room.clear();
    device.room.add(200, 2);
    device.room.add(10, 3);
    expect(device.read()).toBe(5);
    expect([...memory.subarray(200, 202), ...memory.subarray(10, 13)]).toEqual([1, 2, 3, 4, 5]);
  });

  test('counts a frame that is larger than its room as lost', () => {
    libc.answers.set('readv', (_, address, count) =>
      libc.scatter(address, count, [...PLAIN_HEADER, 1, 2, 3, 4, 5]),
    );
    expect(device.readInto(0, 4)).toBe(-EMSGSIZE);
    expect(device.statistics).toMatchObject({ framesRead: 0, readTooLarge: 1, lastRefusal: 'EMSGSIZE' });
    expect(device.failed).toBe(false);
  });

  test.each([EAGAIN, EINTR])('answers 0 and counts nothing when the kernel says %i', (errno) => {
    const before = { ...device.statistics };
    libc.answers.set('readv', () => -errno);
    libc.answers.set('writev', () => -errno);
    expect([device.readInto(0, 64), device.writeFrom(0, 64)]).toEqual([0, 0]);
    expect(device.statistics).toEqual(before);
  });

  test('names why a read failed', () => {
    libc.answers.set('readv', () => -EBADFD);
    expect(device.readInto(0, 64)).toBe(-EBADFD);
    expect(device.statistics).toMatchObject({ readFailed: 1, lastRefusal: 'EBADFD' });
    expect(device.failed).toBe(true);
  });

  test('writes header and fragments in order', () => {
    let seen: number[] = [];
    libc.answers.set('writev', (_, address, count) => (seen = libc.gather(address, count)).length);
    memory.set([21, 22], 30);
    memory.set([23], 5);
    device.writeHeader.load(new DataView(Uint8Array.from(SEGMENT_HEADER).buffer));
    device.fragments.clear();
    device.fragments.add(30, 2);
    device.fragments.add(5, 1);
    expect(device.write()).toBe(3);
    expect(seen).toEqual([...SEGMENT_HEADER, 21, 22, 23]);
    expect(device.statistics).toMatchObject({ framesWritten: 1, bytesWritten: 3 });
  });

  test.each([
    [EINVAL, 'EINVAL'],
    [EIO, 'EIO'],
  ])('counts a frame that the kernel refuses with %i', (errno, name) => {
    libc.answers.set('writev', () => -errno);
    expect(device.writeFrom(0, 60)).toBe(-errno);
    expect(device.statistics).toMatchObject({ framesWritten: 0, writeRefused: 1, lastRefusal: name });
  });
});
