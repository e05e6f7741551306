import { describe, expect, it } from 'vitest';
import { FramePool } from '@netaccel/core-hooks';
import type { Clock, Frame, FrameSink, Memory } from '@netaccel/core-hooks';
import { Bridge } from '../../src/ports/bridge.js';

const A = [2, 0, 0, 0, 0, 0xa];
const B = [2, 0, 0, 0, 0, 0xb];
const C = [2, 0, 0, 0, 0, 0xc];
const everyone = [255, 255, 255, 255, 255, 255];

function lab(ageingMs = 1000) {
  const buffer = new ArrayBuffer(65536);
  const bytes = new Uint8Array(buffer);
  const memory = { bytes } as unknown as Memory;
  let now = 0;
  const clock: Clock = { now: () => now, after: () => () => undefined };
  const bridge = new Bridge(memory, clock, ageingMs);
  const pool = new FramePool(8, 0, 2048);
  const log: string[] = [];
  const sink = (name: string): FrameSink => ({
    deliver: (frame: Frame) => log.push(`${name}:${bytes[frame.address + 12]}`),
    flush: () => log.push(`${name}!`),
  });
  let number = 0;
  const frame = (to: number[], from: number[], length = 60): Frame => {
    const f = pool.allocate()!;
    f.describe(f.home, length);
    bytes.set([...to, ...from, ++number], f.address);
    return f;
  };
  const ports = ['a', 'b', 'c'].map((name) => bridge.attach(name, sink(name)));
  const send = (port: number, to: number[], from: number[], length?: number): string[] => {
    log.length = 0;
    const f = frame(to, from, length);
    ports[port]!.input.deliver(f);
    ports[port]!.input.flush();
    f.release();
    return log.map((l) => l.replace(/:\d+/, ''));
  };
  return { bridge, ports, send, advance: (ms: number) => (now += ms) };
}

describe('bridge', () => {
  it('floods what it does not know, and learns', () => {
    const { send, ports } = lab();
    expect(send(0, B, A)).toEqual(['b', 'c', 'b!', 'c!']);
    expect(send(1, A, B)).toEqual(['a', 'a!']);
    expect(send(0, B, A)).toEqual(['b', 'b!']);
    expect(ports[0]!.statistics).toEqual({
      inFrames: 2,
      outFrames: 1,
      flooded: 1,
      filtered: 0,
      runt: 0,
      nowhere: 0,
    });
  });

  it('floods group addresses always, to every other port once', () => {
    const { send } = lab();
    send(1, A, B);
    expect(send(0, everyone, A)).toEqual(['b', 'c', 'b!', 'c!']);
  });

  it('follows an address that moves, at once, although ports remember', () => {
    const { send } = lab();
    send(1, A, B);
    expect(send(0, B, A)).toEqual(['b', 'b!']);
    send(2, everyone, B); // B moved to port c and says so
    expect(send(0, B, A)).toEqual(['c', 'c!']);
  });

  it('sends nothing back where it came from', () => {
    const { send, ports } = lab();
    send(0, everyone, A);
    send(0, everyone, B);
    expect(send(0, B, A)).toEqual([]);
    expect(ports[0]!.statistics.filtered).toBe(1);
  });

  it('counts a frame for somebody unknown when there is no other port', () => {
    const { send, ports } = lab();
    ports[1]!.detach();
    ports[2]!.detach();
    expect(send(0, B, A)).toEqual([]);
    expect(ports[0]!.statistics).toMatchObject({ flooded: 1, outFrames: 0, nowhere: 1 });
  });

  it('forgets after the ageing time, also for a port that remembers its last destination', () => {
    const { send, advance } = lab(1000);
    send(1, A, B);
    expect(send(0, B, A)).toEqual(['b', 'b!']);
    advance(2000);
    for (let i = 0; i < 4096; i++) send(0, B, A);
    expect(send(0, B, A)).toEqual(['b', 'c', 'b!', 'c!']);
  });

  it('counts a frame too short to have addresses and passes it to nobody', () => {
    const { send, ports } = lab();
    expect(send(0, B, A, 11)).toEqual([]);
    expect(ports[0]!.statistics.runt).toBe(1);
  });

  it('forgets a port that is detached, and reuses its number', () => {
    const { bridge, ports, send } = lab();
    send(1, A, B);
    ports[1]!.detach();
    expect(send(0, B, A)).toEqual(['c', 'c!']);
    const again = bridge.attach('d', { deliver: () => undefined, flush: () => undefined });
    expect(bridge.describe().ports.map((p) => p.name)).toEqual(['a', 'd', 'c']);
    again.detach();
    again.detach();
    expect(send(2, C, A)).toEqual(['a', 'a!']);
  });
});
