/**
 * Replays a capture file from guest to guest: real shapes of traffic (ARP, IPv6, VLAN, odd lengths), of which each
 * frame takes the path that the plugin chooses. Every frame must arrive once, with its bytes, in its flow's order.
 */
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { Frame } from '@netaccel/core-hooks';
import { FrameHeaders } from '@netaccel/nic-vi';
import { readCapture } from '../capture/index.js';
import type { Check } from '../traffic/frame-check.js';
import type { FramesLab } from './frames-lab.js';
import { difference } from './frames-run.js';
import type { ReplayResult } from './result.js';

/** The capture that comes with the package, found by the package's name: from the sources too. */
const CAPTURE = join(
  dirname(createRequire(import.meta.url).resolve('@netaccel/host/package.json')),
  'captures/mixed.pcapng',
);
const GROUP_BIT = 1;

/** The capture by the slow path alone, then with the plugin, which is loaded when this resolves. */
export async function replayBothWays(lab: FramesLab): Promise<{ slow: ReplayResult; fast: ReplayResult }> {
  await lab.unload();
  const slow = await replayCapture(lab);
  await lab.load();
  return { slow, fast: await replayCapture(lab) };
}

/** Sends the file's frames from guest a to guest b. */
async function replayCapture(lab: FramesLab): Promise<ReplayResult> {
  const { from, to, source, destination } = lab.ends();
  const { memory } = lab.lab.lab;
  const before = lab.accelerated();
  const headers = new FrameHeaders(memory);
  const check = new ReplayCheck();
  to.sink.to = {
    deliver: (frame) => {
      check.arrived(contents(memory.bytes, frame));
    },
    flush: () => undefined,
  };
  for (const packet of readCapture(CAPTURE).packets) {
    const bytes = addressed(packet.bytes, source, destination);
    let frame = from.out.allocate(bytes.length);
    while (frame === null) {
      await lab.lab.lab.settle(10);
      frame = from.out.allocate(bytes.length);
    }
    memory.bytes.set(bytes, frame.home);
    headers.parse(frame.home, bytes.length, bytes.length);
    check.sent(bytes, flowOf(headers));
    frame.describe(frame.home, bytes.length);
    while (!from.out.startXmit(frame, false)) await lab.lab.lab.settle(10);
  }
  await lab.lab.lab.settle(100);
  return { ...check.result(), accelerated: difference(lab.accelerated(), before) };
}

/** The frame as the guest would send it: from its own address, to the other guest's unless it is for a group. */
function addressed(bytes: Uint8Array, source: Uint8Array, destination: Uint8Array): Uint8Array {
  const frame = bytes.slice();
  if ((frame[0]! & GROUP_BIT) === 0) frame.set(destination, 0);
  frame.set(source, 6);
  return frame;
}

function contents(memory: Uint8Array, head: Frame): Uint8Array {
  const bytes = new Uint8Array(head.totalBytes);
  let at = 0;
  for (let f: Frame | null = head; f !== null; f = f.next) {
    bytes.set(memory.subarray(f.address, f.address + f.length), at);
    at += f.length;
  }
  return bytes;
}

/**
 * What names a frame's flow, within which order must be kept: addresses of both layers, VLAN, protocol, and ports.
 * Fragments have no ports, and are no part of the flow of whole datagrams: no NIC steers them alike. Nor is a frame
 * to a group part of the flow to a guest, even from the same sender: groups go by the slow path.
 */
export function flowOf(h: FrameHeaders): string {
  const link = [h.mac0, h.mac1, h.mac2, h.vlan, h.etherType];
  if (h.version === 0) return link.join();
  const ends = [h.source0, h.destination0];
  if (h.version === 6)
    ends.push(h.source1, h.source2, h.source3, h.destination1, h.destination2, h.destination3);
  return [...link, ...ends, h.protocol, h.payload === 0 ? '' : h.ports].join();
}

/** Equal frames that were sent: their places in the file, in order, of those that have not arrived. */
interface Expected {
  readonly flow: string;
  readonly places: number[];
}

/** Knows what was sent, and ticks off what arrives. */
export class ReplayCheck {
  private readonly expected = new Map<string, Expected>();
  private readonly lastOfFlow = new Map<string, number>();
  private readonly check: Check = {
    sent: 0,
    received: 0,
    lost: 0,
    duplicated: 0,
    reordered: 0,
    corrupted: 0,
  };

  /** A frame is about to be sent. */
  sent(bytes: Uint8Array, flow: string): void {
    const key = keyOf(bytes);
    const same = this.expected.get(key);
    if (same === undefined) this.expected.set(key, { flow, places: [this.check.sent] });
    else same.places.push(this.check.sent);
    this.check.sent++;
    this.check.lost++;
  }

  /** A frame has arrived. */
  arrived(bytes: Uint8Array): void {
    const expected = this.expected.get(keyOf(bytes));
    if (expected === undefined) {
      this.check.corrupted++;
      return;
    }
    const place = expected.places.shift();
    if (place === undefined) {
      this.check.duplicated++;
      return;
    }
    this.check.received++;
    this.check.lost--;
    if (place < (this.lastOfFlow.get(expected.flow) ?? -1)) this.check.reordered++;
    else this.lastOfFlow.set(expected.flow, place);
  }

  /** The outcome so far. */
  result(): Check {
    return { ...this.check };
  }
}

function keyOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
}
