// Frames that say which they are: a flow and a number in it.
import type { Side } from './two-guests.js';

export const FRAME_BYTES = 60;

/** A frame of a flow with its number: UDP from one side's guest to the other's. */
export function numbered(from: Side, to: Side, flow: number, number: number): Uint8Array {
  const bytes = new Uint8Array(FRAME_BYTES);
  const view = new DataView(bytes.buffer);
  bytes.set(to.mac, 0);
  bytes.set(from.mac, 6);
  bytes.set(
    [
      8,
      0,
      0x45,
      0,
      0,
      FRAME_BYTES - 14,
      0,
      0,
      0,
      0,
      64,
      17,
      0,
      0,
      10,
      0,
      0,
      1 + from.index,
      10,
      0,
      0,
      1 + to.index,
    ],
    12,
  );
  view.setUint16(34, 4000);
  view.setUint16(36, 5000 + flow);
  view.setUint16(38, FRAME_BYTES - 34);
  view.setUint32(44, number);
  return bytes;
}

/** What {@link numbered} put in. */
export function readNumbered(bytes: Uint8Array): { flow: number; number: number } | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  if (view.getUint16(12) !== 0x0800) return null;
  return { flow: view.getUint16(36) - 5000, number: view.getUint32(44) };
}
