/**
 * Replays a capture file from guest to guest: real shapes of traffic (ARP, IPv6, VLAN, odd lengths), of which each
 * frame takes the path that the plugin chooses. Every frame must arrive once, with its bytes, in its flow's order.
 */
import { fileURLToPath } from 'node:url';
import type { Frame } from '@netaccel/core-hooks';
import { readCapture } from '../capture/index.js';
import type { Check } from '../traffic/frame-check.js';
import type { FramesLab } from './frames-lab.js';

/** The capture that comes with the package. */
const CAPTURE = fileURLToPath(new URL('../captures/mixed.pcapng', import.meta.url));
/** Bytes that name a flow: everything from the Ethernet type to the ports. */
const FLOW_FROM = 12;
const FLOW_TO = 38;
const GROUP_BIT = 1;

/** Sends the file's frames from guest a to guest b. */
export async function replayCapture(lab: FramesLab): Promise<Check> {
  const { from, to, source, destination } = lab.ends();
  const { memory } = lab.lab.lab;
  const frames = readCapture(CAPTURE).packets.map(({ bytes }) => addressed(bytes, source, destination));
  const receiver = new ReplayCheck(frames, (frame) => contents(memory.bytes, frame));
  to.sink.to = receiver;
  for (const bytes of frames) {
    let frame = from.out.allocate(bytes.length);
    while (frame === null) {
      await lab.lab.lab.settle(10);
      frame = from.out.allocate(bytes.length);
    }
    memory.bytes.set(bytes, frame.home);
    frame.describe(frame.home, bytes.length);
    while (!from.out.startXmit(frame, false)) await lab.lab.lab.settle(10);
  }
  await lab.lab.lab.settle(100);
  return receiver.result();
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

/** Knows what was sent, and ticks off what arrives. */
class ReplayCheck {
  private readonly expected = new Map<string, number[]>();
  private readonly lastOfFlow = new Map<string, number>();
  private readonly check: Check;

  constructor(
    frames: readonly Uint8Array[],
    private readonly read: (frame: Frame) => Uint8Array,
  ) {
    this.check = {
      sent: frames.length,
      received: 0,
      lost: frames.length,
      duplicated: 0,
      reordered: 0,
      corrupted: 0,
    };
    frames.forEach((bytes, i) => {
      const key = keyOf(bytes);
      const same = this.expected.get(key);
      if (same === undefined) this.expected.set(key, [i]);
      else same.push(i);
    });
  }

  deliver(frame: Frame): void {
    const bytes = this.read(frame);
    const waiting = this.expected.get(keyOf(bytes));
    if (waiting === undefined) {
      this.check.corrupted++;
      return;
    }
    const index = waiting.shift();
    if (index === undefined) {
      this.check.duplicated++;
      return;
    }
    this.check.received++;
    this.check.lost--;
    const flow = keyOf(bytes.subarray(FLOW_FROM, FLOW_TO));
    if (index < (this.lastOfFlow.get(flow) ?? -1)) this.check.reordered++;
    this.lastOfFlow.set(flow, index);
  }

  flush(): void {
    return;
  }

  result(): Check {
    return { ...this.check };
  }
}

function keyOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
}
