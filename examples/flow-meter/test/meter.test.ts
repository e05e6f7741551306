// The meter by itself: which frames are one flow, what a rate is, and who gives way.
import { FlatMemory } from '@netaccel/core-hooks/testing';
import { FrameHeaders } from '@netaccel/nic-vi';
import { describe, expect, it } from 'vitest';
import { FlowMeter, Way } from '../src/frontend/meter.js';

const memory = new FlatMemory(4);
const at = memory.allocate(1);
const headers = new FrameHeaders(memory);

/** An IPv4 frame's headers, parsed; ports only for TCP and UDP. */
function ipv4(
  protocol: number,
  source: number[],
  destination: number[],
  ports: [number, number] = [0, 0],
): FrameHeaders {
  const bytes = new Uint8Array(60);
  bytes.set(
    [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x00, 0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, protocol, 0, 0],
    0,
  );
  bytes.set([...source, ...destination], 26);
  bytes.set([ports[0] >> 8, ports[0] & 255, ports[1] >> 8, ports[1] & 255], 34);
  if (protocol === 17) bytes.set([0, 26], 38);
  memory.bytes.set(bytes, at);
  headers.parse(at, 60, 60);
  return headers;
}
const guest = [10, 0, 0, 1];
const other = [10, 0, 0, 2];

describe('the meter', () => {
  it('has one row for a flow, whichever way its frames go', () => {
    const meter = new FlowMeter();
    meter.count(ipv4(17, guest, other, [5001, 40404]), Way.sent, 60, 0);
    meter.count(ipv4(17, other, guest, [40404, 5001]), Way.received, 90, 0);
    expect(meter.top(10, 1)).toEqual([
      {
        flow: 'udp 10.0.0.1:5001 - 10.0.0.2:40404',
        sentFrames: 1,
        sentBytes: 60,
        receivedFrames: 1,
        receivedBytes: 90,
        bitsPerSecond: 0,
        silentMs: 1,
      },
    ]);
  });

  it('tells ping from TCP, and ARP from both', () => {
    const meter = new FlowMeter();
    meter.count(ipv4(1, guest, other), Way.sent, 60, 0);
    memory.bytes.set([0x08, 0x06], at + 12);
    headers.parse(at, 60, 60);
    meter.count(headers, Way.sent, 42, 0);
    expect(meter.top(10, 0).map(({ flow }) => flow)).toEqual(['icmp 10.0.0.1 - 10.0.0.2', 'arp']);
  });

  it('names IPv6 ends and tags', () => {
    const meter = new FlowMeter();
    const bytes = new Uint8Array(80);
    bytes.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x81, 0, 0, 7, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 8, 58, 64]);
    bytes.set(
      [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2],
      26,
    );
    memory.bytes.set(bytes, at);
    headers.parse(at, 80, 80);
    meter.count(headers, Way.sent, 80, 0);
    expect(meter.top(1, 0)[0]!.flow).toBe('icmpv6 vlan 7 [fd00:0:0:0:0:0:0:1] - [fd00:0:0:0:0:0:0:2]');
  });

  it('gives the rate of the last whole second, and none to the silent', () => {
    const meter = new FlowMeter();
    for (let now = 0; now < 2000; now += 10) meter.count(ipv4(17, guest, other, [1, 2]), Way.sent, 1250, now);
    expect(meter.top(1, 2000)[0]!.bitsPerSecond).toBe(1_000_000);
    expect(meter.top(1, 4000)[0]!.bitsPerSecond).toBe(0);
  });

  it('shows those that carry most first, and as many as asked for', () => {
    const meter = new FlowMeter();
    for (let port = 1; port <= 20; port++) meter.count(ipv4(17, guest, other, [port, 9]), Way.sent, port, 0);
    expect(meter.top(2, 0).map(({ sentBytes }) => sentBytes)).toEqual([20, 19]);
  });

  it('lets the flow go that was silent for longest, and says how many went', () => {
    const meter = new FlowMeter();
    for (let i = 0; i < 5000; i++)
      meter.count(ipv4(17, guest, other, [1 + (i >> 8), i & 255]), Way.sent, 60, i);
    const flows = meter.top(10_000, 5000);
    expect(flows.length + meter.displaced).toBe(5000);
    expect(flows.length).toBeGreaterThan(900);
    expect(meter.displaced).toBeGreaterThan(3000);
  });
});
