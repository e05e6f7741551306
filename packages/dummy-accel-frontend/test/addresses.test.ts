// Whom frames may go to by the device: who is known to be across the wire, for how long, and who is on this host.
import { describe, expect, it } from 'vitest';
import { broadcast, frameOf, macOf } from '@netaccel/nic-vi/testing';
import { B, connected, offer, out } from './attached.js';

describe('addresses', () => {
  it('feature 35, feature 117: are learned from the other half, and from what arrives by the device', async () => {
    const it = await connected();
    const { guest, device, far } = it;
    const to = (n: number): string => offer(it, guest.frame(out({ to: macOf(n) })));
    expect(to(0xc)).toBe('unknown-destination');
    const told = guest.tellFilter(guest.addFilter());
    await guest.settle();
    device.poll(64);
    await told;
    far.send(frameOf({ from: macOf(0xc) }));
    device.poll(64);
    expect(to(0xc)).toBe('sent');
  });

  it('feature 118: that are on this host now are unlearned at once, whatever is still in the queue', async () => {
    const it = await connected();
    const { guest, device, far } = it;
    const told = guest.tellFilter(guest.addFilter());
    await guest.settle();
    device.poll(64);
    await told;
    expect(offer(it, guest.frame(out()))).toBe('sent');
    far.send(frameOf({ from: B }));
    await guest.tell(B, 'here');
    expect(offer(it, guest.frame(out()))).toBe('unknown-destination');
    device.poll(64); // the frame of before
    expect(offer(it, guest.frame(out()))).toBe('unknown-destination');
    await guest.tell(B); // it moved away again
    expect(offer(it, guest.frame(out()))).toBe('sent');
  });

  it('feature 86: are all unlearned when the other half lost count', async () => {
    const it = await connected();
    await it.guest.tell(macOf(0xc));
    await it.guest.tell(broadcast, 'here');
    for (const n of [0xb, 0xc])
      expect(offer(it, it.guest.frame(out({ to: macOf(n) })))).toBe('unknown-destination');
  });

  it('feature 119, hole 2.16 #9: are forgotten when nothing was heard of them', async () => {
    const it = await connected();
    it.guest.clock.advance(299_000);
    it.device.poll(1);
    expect(offer(it, it.guest.frame(out()))).toBe('sent');
    it.guest.clock.advance(2000);
    it.device.poll(1);
    expect(offer(it, it.guest.frame(out()))).toBe('unknown-destination');
  });
});
