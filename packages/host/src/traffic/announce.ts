/** What an interface says when it comes up, so that bridges and plugins learn where it is. */
import type { Memory } from '@netaccel/core-hooks';
import type { Transmitter } from './transmitter.js';

const ARP_BYTES = 60;

/** Sends a gratuitous ARP: reply-type, broadcast, as Linux's netfront has its stack send it. */
export function announce(memory: Memory, out: Transmitter, mac: Uint8Array, ip: Uint8Array): void {
  const frame = out.allocate(ARP_BYTES);
  if (frame === null) return;
  const bytes = new Uint8Array(ARP_BYTES);
  bytes.fill(255, 0, 6);
  bytes.set(mac, 6);
  bytes.set([8, 6, 0, 1, 8, 0, 6, 4, 0, 2], 12);
  for (const at of [22, 32]) {
    bytes.set(mac, at);
    bytes.set(ip, at + 6);
  }
  memory.bytes.set(bytes, frame.home);
  frame.describe(frame.home, ARP_BYTES);
  if (!out.startXmit(frame, false)) frame.release();
}
