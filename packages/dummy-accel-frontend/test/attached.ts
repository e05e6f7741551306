// The guest's half of the plugin on a device, with the backend half played by the test and a far end on the wire.
import { Verdict, reasonName } from '@netaccel/core-hooks';
import type { Frame, FrontendAccelerator } from '@netaccel/core-hooks';
import { FakeGuest, FarEnd, frameOf, macOf } from '@netaccel/nic-vi/testing';
import type { FrameSpec, Script } from '@netaccel/nic-vi/testing';
import { expect } from 'vitest';
import plugin from '../src/index.js';

/** The guest. */
export const A = macOf(0xa);
/** The far end. */
export const B = macOf(0xb);

export interface Attached {
  guest: FakeGuest;
  device: FrontendAccelerator;
  far: FarEnd;
}

/** Live; nobody is known to be across the wire. */
export async function attached(script: Script = {}): Promise<Attached> {
  const guest = new FakeGuest(script);
  return { guest, far: new FarEnd(guest), device: await plugin.newDevice(guest.services) };
}

/** Live, and B is known to be across the wire. */
export async function connected(script: Script = {}): Promise<Attached> {
  const made = await attached(script);
  await made.guest.tell(B);
  return made;
}

/** A frame from A to B. */
export const out = (spec: FrameSpec = {}): Uint8Array => frameOf({ to: B, from: A, ...spec });

/** A verdict in words: what a decline’s reason is called. */
export const said = (verdict: Verdict): string =>
  verdict === Verdict.sent ? 'sent' : verdict === Verdict.busy ? 'busy' : (reasonName(verdict) ?? 'nonsense');

/** A verdict, and that a frame which was not taken is as it was. */
export function offer({ device }: Attached, frame: Frame, more = false): string {
  const before = { ...frame };
  const verdict = said(device.startTransmit(frame, more));
  if (verdict !== 'sent') expect({ ...frame }).toEqual(before);
  return verdict;
}
