/** Flow buckets: one flow, one bucket, whatever else a frame carries; and no read beyond what may be read. */
import { describe, expect, test } from 'vitest';
import { FLOW_BUCKETS, SlowFlows, UNSORTED, flowBucket } from '../src/flow.js';
import { tcpFrame } from './lab.js';

const bucketOf = (bytes: Uint8Array, length = bytes.length): number =>
  flowBucket(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), 0, length);

function ipv6(port: number, next = 6): Uint8Array {
  const bytes = new Uint8Array(80).fill(7);
  const view = new DataView(bytes.buffer);
  view.setUint16(12, 0x86dd);
  bytes[14] = 0x60;
  bytes[20] = next;
  view.setUint16(54, port);
  return bytes;
}

function tagged(bytes: Uint8Array): Uint8Array {
  const out = new Uint8Array(bytes.length + 4);
  out.set(bytes.subarray(0, 12));
  out.set([0x81, 0, 0, 5], 12);
  out.set(bytes.subarray(12), 16);
  return out;
}

describe('buckets', () => {
  test('the same for every frame of a flow, at any address', () => {
    for (let flow = 0; flow < 200; flow++) {
      const expected = bucketOf(tcpFrame(flow, 1));
      expect(expected).toBeGreaterThanOrEqual(0);
      expect(expected).toBeLessThan(FLOW_BUCKETS);
      for (let serial = 2; serial < 6; serial++)
        expect(bucketOf(tcpFrame(flow, serial, 64 + serial))).toBe(expected);
      const shifted = new Uint8Array(70);
      shifted.set(tcpFrame(flow, 9), 3);
      expect(flowBucket(new DataView(shifted.buffer), 3, 64)).toBe(expected);
      expect(bucketOf(tagged(tcpFrame(flow, 3)))).toBe(expected);
    }
  });

  test('flows are spread', () => {
    const used = new Set(Array.from({ length: 1000 }, (_, flow) => bucketOf(tcpFrame(flow, 0))));
    expect(used.size).toBeGreaterThan(230);
    const six = new Set(Array.from({ length: 1000 }, (_, port) => bucketOf(ipv6(port))));
    expect(six.size).toBeGreaterThan(230);
  });

  test('UDP, and fragments of anything, go by addresses: a datagram’s later fragments have no ports', () => {
    const udp = (port: number, fragment: number): Uint8Array => {
      const bytes = tcpFrame(port, 1);
      bytes[23] = 17;
      new DataView(bytes.buffer).setUint16(20, fragment);
      return bytes;
    };
    const whole = bucketOf(udp(1, 0));
    expect(bucketOf(udp(2, 0))).toBe(whole);
    expect(bucketOf(udp(2, 0x2000))).toBe(whole); // first of several
    expect(bucketOf(udp(3, 0x00b9))).toBe(whole); // a later one
    expect(bucketOf(udp(3, 0x4000))).toBe(whole); // must not be cut
    expect(bucketOf(ipv6(1, 17))).toBe(bucketOf(ipv6(2, 17)));
  });

  test('IPv4 options move the ports', () => {
    const bytes = tcpFrame(5, 1, 80);
    const long = new Uint8Array(84);
    long.set(bytes.subarray(0, 34));
    long.set(bytes.subarray(34, 80), 38);
    long[14] = 0x46;
    expect(bucketOf(long)).toBe(bucketOf(bytes));
  });

  test('headers that lie or are cut off: never a read beyond the length', () => {
    for (const frame of [tcpFrame(1, 1), tagged(tcpFrame(1, 1)), ipv6(1)])
      for (let length = 0; length <= frame.length; length++)
        for (const ihl of [0x40, 0x45, 0x4f]) {
          const bytes = frame.slice(0, length);
          if (length > 14) bytes[14] = ihl;
          expect(() => bucketOf(bytes)).not.toThrow();
        }
  });
});

test('unsorted frames may be of any flow', () => {
  const flows = new SlowFlows();
  expect(flows.busy(3)).toBe(false);
  flows.begin(UNSORTED);
  expect(flows.busy(3)).toBe(true);
  flows.begin(3);
  flows.end(UNSORTED);
  expect([flows.busy(3), flows.busy(4)]).toEqual([true, false]);
  flows.end(3);
  expect(flows.busy(3)).toBe(false);
});
