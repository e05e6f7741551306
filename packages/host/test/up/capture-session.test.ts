// A capture of one VI: what it sends and what is for it, and by which path that went. One of a guest, where it goes.
import { expect, it } from 'vitest';
import { CaptureDirection, readCapture } from '../../src/capture/index.js';
import { parseLab } from '../../src/lab/index.js';
import type { Captured, Collector } from '../../src/up/capture-desk.js';
import type { WatchedPorts } from '../../src/ports/bridge-watch.js';
import { CaptureSession } from '../../src/up/capture-session.js';
import { findNamed } from '../../src/up/names.js';
import { moveGuest, placeGuests } from '../../src/up/placement.js';

const lab = placeGuests(
  parseLab(`lab: 1
hosts:
  alpha: { guests: { a: { port: memory } } }
  beta: { guests: { b: { port: memory } } }
wires: [{ between: [alpha.eth0, beta.eth0] }]
`),
);
const DRIVER_VI = 0;
const GUEST_VI = 3;
const OTHER_VI = 5;

/** Frames on the wire: which end sent it, by which VI, and for which VI at the other end. */
const WIRE = [
  { place: 'alpha.eth0', sender: GUEST_VI, receiver: DRIVER_VI },
  { place: 'alpha.eth0', sender: DRIVER_VI, receiver: GUEST_VI },
  { place: 'beta.eth0', sender: DRIVER_VI, receiver: GUEST_VI },
  { place: 'beta.eth0', sender: OTHER_VI, receiver: GUEST_VI },
  { place: 'beta.eth0', sender: OTHER_VI, receiver: DRIVER_VI },
  { place: 'beta.eth0', sender: GUEST_VI, receiver: null },
];

/** Captures the wire's frames at a target: the number of each that was kept, with its direction and comment. */
async function captured(name: string) {
  const out: Uint8Array[] = [];
  const stop = new AbortController();
  const request = {
    target: findNamed(lab, name, ['vi'], () => [DRIVER_VI, GUEST_VI, OTHER_VI]),
    count: 0,
    snapBytes: 0,
  };
  const joinWire = (wire: number, collector: Collector): (() => Promise<void>) => {
    expect([wire, collector.wantsReceiver]).toEqual([0, true]);
    for (const [i, seen] of WIRE.entries()) {
      const bytes = new Uint8Array(60).fill(i);
      collector.frame({ ...seen, outgoing: false, timeUs: Date.now() * 1000, bytes } satisfies Captured);
    }
    stop.abort();
    return () => Promise.resolve();
  };
  const session = new CaptureSession(
    lab,
    { joinWire, joinBridge: () => Promise.reject(new Error('no bridge is asked for')) },
    new Map([
      ['alpha', [DRIVER_VI]],
      ['beta', [DRIVER_VI]],
    ]),
    request,
    {
      write: (bytes) => void out.push(bytes.slice()),
      note: () => undefined,
      waitingBytes: 0,
      stopped: stop.signal,
    },
  );
  await session.run();
  const { packets, interfaces, faults } = readCapture(Buffer.concat(out));
  expect(faults).toEqual([]);
  return {
    interfaces: interfaces.map(({ name: known, description }) => `${known}: ${description}`),
    packets: packets.map(({ bytes, direction, comments }) => [bytes[0], direction, ...comments]),
  };
}

const { inbound, outbound } = CaptureDirection;

it("of a guest's VI is all fast", async () => {
  expect(await captured('alpha.eth0.vi3')).toEqual({
    interfaces: ['alpha.eth0.vi3: VI of a guest, wired to beta.eth0'],
    packets: [
      [0, outbound, 'fast'],
      [2, inbound, 'fast'],
      [3, inbound, 'fast'],
    ],
  });
});

it("of a driver domain's VI has the path by which each frame was sent", async () => {
  expect(await captured('alpha.eth0.vi0')).toEqual({
    interfaces: ['alpha.eth0.vi0: VI of the driver domain, wired to beta.eth0'],
    packets: [
      [1, outbound, 'slow'],
      [4, inbound, 'fast'],
    ],
  });
});

it('of a guest leaves its old place before it begins at the new one, and follows no other guest', async () => {
  const steps: string[] = [];
  const stop = new AbortController();
  const out: Uint8Array[] = [];
  const bytes = new Uint8Array(60);
  const joinBridge = (host: string, { into }: WatchedPorts, collector: Collector) => {
    const place = into![0]!;
    steps.push(`joins ${host} ${place}`);
    const seen = { place, outgoing: true, timeUs: Date.now() * 1000, bytes, sender: null, receiver: null };
    collector.frame(seen);
    return Promise.resolve(() => {
      collector.frame(seen); // the last batch
      steps.push(`leaves ${host}`);
      return Promise.resolve();
    });
  };
  const session = new CaptureSession(
    lab,
    { joinWire: () => () => Promise.resolve(), joinBridge },
    new Map(),
    { target: findNamed(lab, 'a', ['guest']), count: 0, snapBytes: 0 },
    {
      write: (piece) => void out.push(piece.slice()),
      note: () => undefined,
      waitingBytes: 0,
      stopped: stop.signal,
    },
  );
  const over = session.run();
  const moved = moveGuest(lab, 'a', 'alpha', 'beta', 7);
  const [, beta] = moved.hosts;
  session.guestMoved('b', 'beta', beta!);
  session.guestMoved('a', 'gamma', beta!); // another guest of that name
  session.guestMoved('a', 'alpha', beta!);
  stop.abort();
  expect(await over).toEqual({ frames: 4, lost: 0 });
  expect(steps).toEqual(['joins alpha vif1.0', 'leaves alpha', 'joins beta vif7.0', 'leaves beta']);
  const { packets, interfaces } = readCapture(Buffer.concat(out));
  expect(interfaces.map(({ name }) => name)).toEqual(['alpha.a', 'beta.a']);
  expect(packets.map((packet) => packet.interface.name)).toEqual(['alpha.a', 'alpha.a', 'beta.a', 'beta.a']);
});
