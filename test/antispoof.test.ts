// A guest that is held to its addresses, whichever way its frames go: with its plugin, without one, and while that comes
// and goes. What it sends as itself arrives; what it sends as somebody else arrives nowhere, and is counted.
import { expect, it } from 'vitest';
import { ThreeHosts, perfect } from './three-hosts.js';

const OWN = [10, 77, 0, 11];
const OTHER = [10, 77, 0, 99];
const PLUGIN = '@netaccel/dummy-accel-backend';

/** A TCP segment from guest a to guest b, which those that check frames of theirs take for a neighbour's. */
function segment(source: readonly number[], mac = 0x0a): Uint8Array {
  const frame = new Uint8Array(60);
  frame.set([0x02, 0, 0, 0, 0, 0x0b, 0x02, 0, 0, 0, 0, mac, 0x08, 0x00]);
  frame.set([0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, ...source, 10, 77, 0, 12], 14);
  frame.set([4, 210, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x10], 34);
  return frame;
}

function send(lab: ThreeHosts, frame: Uint8Array): void {
  const { netfront } = lab.guest('a').guest;
  const buffer = netfront.allocate(frame.length)!;
  lab.lab.lab.memory.bytes.set(frame, buffer.home);
  buffer.describe(buffer.home, frame.length);
  expect(netfront.startXmit(buffer, false)).toBe(true);
}

it(
  'feature 48: a guest with "antispoof" sends as itself only, by the fast path and by the slow one',
  { timeout: 40_000 },
  async () => {
    const lab = await ThreeHosts.start({ seed: 12, addresses: ['10.77.0.11'] });
    const driver = lab.lab.host('alpha').driver;
    const spoofed = (): number => driver.driver.vif(1, 0)!.statistics().txErrors.spoofed;
    const foreign = (): number => lab.flows[0].check.foreign;
    const declined = (): number => lab.guest('a').guest.netfront.statistics().declines['spoofed'] ?? 0;
    lab.begin();
    let sent = 0;
    for (const round of ['fast', 'slow', 'fast'] as const) {
      if (round === 'slow') await lab.lab.during(driver.unload(PLUGIN));
      else if (lab.plugin('a') === null) await lab.lab.lab.during(driver.load(PLUGIN));
      await lab.lab.lab.runUntil(() => (lab.path('a') === 'live') === (round === 'fast'), 20_000);
      // Until b is known to be across the wire, the fast path takes nothing.
      const fast = (): number => lab.guest('a').guest.netfront.statistics().accelerated.txFrames;
      const taken = fast();
      if (round === 'fast') await lab.lab.lab.runUntil(() => fast() > taken + 100, 20_000);
      const before = declined();
      const arrived = foreign();
      for (let i = 0; i < 5; i++)
        for (const frame of [segment(OTHER), segment(OWN, 0x0c), segment(OWN)]) {
          send(lab, frame);
          await lab.flow(50); // by then it is where it goes: while it is on the slow path, its flow goes after it
        }
      sent += 10;
      expect(spoofed()).toBe(sent);
      expect(foreign() - arrived).toBe(5);
      expect(declined() - before).toBe(round === 'fast' ? 10 : 0);
    }
    const outcome = await lab.settled();
    expect(outcome).toEqual(outcome.map(perfect));
    expect(await lab.stop()).toEqual({});
  },
);
