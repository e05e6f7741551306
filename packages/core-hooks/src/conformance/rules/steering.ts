/** Which flows come past the driver domain: whose, how many, and which one gives way. */
import { Docs } from '../docs.js';
import type { FrameSpec } from '../frames.js';
import { KIT_LIMITS } from '../host/host.js';
import type { Vif } from '../host/vif.js';
import type { Lab } from '../lab.js';
import type { Rule } from '../rule.js';
import { fast, flow, steered } from './inbound.js';
import { EVERYBODY, GROUP } from './transmit.js';

/** How long a filter is idle before another flow may surely have its place. */
const IDLE_MS = 5000;

export const steeringRules: readonly Rule[] = [
  fast({
    id: 'receive.own-only',
    title: 'draws only what is addressed to its guest: not the same flow to another address',
    docs: Docs.back,
    check: async (lab) => {
      const vif = await lab.receiving(flow);
      const other = Uint8Array.of(2, 0, 0, 0, 1, 99);
      const receiver = vif.host.arrive(lab.inward(vif, { ...flow, serial: 1, to: other }));
      await vif.host.run(20);
      lab.expect(receiver === 'driver', () => ({
        expected:
          "a frame with another's MAC address, but the same IP address and port, is left to the driver domain",
        seen: 'the filter drew it',
        todo: 'put the guest’s MAC address (and the VLAN) in the key of each filter',
      }));
    },
  }),
  fast({
    id: 'receive.quota',
    title: `keeps to its quota of filters, and to none when the quota is 0`,
    docs: Docs.back,
    check: async (lab) => {
      for (const maxFilters of [KIT_LIMITS.maxFilters, 1, 0]) {
        const vif = await lab.attached({ limits: { maxFilters } });
        const specs = Array.from({ length: 8 }, (_, i) => ({ flow: 0xa0 + i, targetPort: 8300 + i }));
        const drawn = await steered(lab, vif, specs);
        // A filter on the guest's address draws every flow, so there only none and some can be told apart.
        const most = lab.can.receivesAll === true && maxFilters > 0 ? specs.length : maxFilters;
        lab.expect(drawn.length <= most, () => ({
          expected: `with limits.maxFilters ${maxFilters} at most as many flows come past the driver domain`,
          seen: `${drawn.length} of 8 did`,
          todo: 'count filters against services.limits.maxFilters, which is fixed at probe; let the oldest give way',
        }));
      }
    },
  }),
  fast({
    id: 'receive.groups-slow',
    title: (can) =>
      can.receivesAll === true
        ? 'draws no broadcast and no multicast'
        : 'draws no broadcast, no multicast and no fragments',
    docs: Docs.back,
    check: async (lab) => {
      const vif = await lab.attached();
      const specs: FrameSpec[] = [
        { to: EVERYBODY, flow: 0xb0, targetPort: 8400 },
        { to: GROUP, flow: 0xb1, targetPort: 8401 },
        { fragment: 0x2000, flow: 0xb2, targetPort: 8402 },
        { fragment: 0x0020, flow: 0xb3, targetPort: 8403 },
      ].slice(0, lab.can.receivesAll === true ? 2 : 4);
      const drawn = await steered(lab, vif, specs);
      lab.expect(drawn.length === 0, () => ({
        expected: 'broadcast, multicast and fragments take the slow path',
        seen: `${drawn.map(({ flow: n }) => ['a broadcast', 'a multicast', 'a first fragment', 'a later fragment'][(n ?? 0) - 0xb0]).join(', ')} came past the driver domain`,
        todo: 'look for a filter only at unicast frames for the guest whose transport header is complete',
      }));
    },
  }),
  fast({
    id: 'receive.eviction',
    title: (can) =>
      can.receivesAll === true
        ? 'has every flow come by its one filter: none gives way to another'
        : 'has the flow that was idle for longest give way when its quota is used up, and no other',
    docs: Docs.back,
    needs: ['receive.quota'],
    check: async (lab) => {
      if (lab.can.receivesAll === true) return oneForAll(lab);
      const most = Math.min(3, lab.can.receiveFilters ?? 0);
      const vif = await lab.attached({ limits: { maxFilters: most } });
      const flows = Array.from({ length: most }, (_, i) => ({ flow: 0xb8 + i, targetPort: 8410 + i }));
      if ((await steered(lab, vif, flows)).length < most) return;
      // Neither the first that got a filter nor the last, if there are so many: the one that was used before the rest.
      const oldest = flows[most > 1 ? 1 : 0]!;
      const busy = flows.at(-1)!;
      const others = flows.filter((each) => each !== oldest);
      await keepUp(lab, vif, others.slice(0, 1), 1);
      await keepUp(lab, vif, [oldest], 0);
      await keepUp(lab, vif, others, IDLE_MS);
      await keepUp(lab, vif, others.slice(-1), IDLE_MS);
      const coming = { flow: 0xbf, targetPort: 8420 };
      let came = false;
      for (let i = 0; i < 60 && !came; i++) {
        came = vif.host.arrive(lab.inward(vif, { ...coming, serial: i })) === 'guest';
        if (busy !== oldest) vif.host.arrive(lab.inward(vif, busy));
        await vif.host.run(50);
      }
      lab.expect(came, () => ({
        expected: `a flow that is seen again and again gets the filter of one that was idle for ${(2 * IDLE_MS) / 1000} s`,
        seen: 'three seconds later it still took the slow path',
        todo: 'when the quota is used up take a filter away that no frame matched of late, and add the new one',
      }));
      const gone = others.filter((each) => vif.host.arrive(lab.inward(vif, each)) !== 'guest');
      lab.expect(gone.length === 0, () => ({
        expected: 'the flow whose last frame is the oldest gave way',
        seen: `it still has its filter, and one used ${gone.includes(busy) ? 'all the time' : 'later'} lost it`,
        todo: 'keep the time of the last match of each filter, and compare that: not when it was added',
      }));
      await vif.host.run(20);
    },
  }),
];

/** Traffic of some flows, every 200 ms, for a while. */
async function keepUp(lab: Lab, vif: Vif, flows: readonly FrameSpec[], ms: number): Promise<void> {
  for (let gone = 0; gone <= ms; gone += 200) {
    for (const spec of flows) vif.host.arrive(lab.inward(vif, spec));
    await vif.host.run(ms === 0 ? 20 : 200);
  }
}

async function oneForAll(lab: Lab): Promise<void> {
  const vif = await lab.attached({ limits: { maxFilters: 1 } });
  const flows = Array.from({ length: 12 }, (_, i) => ({ flow: 0xb8 + i, targetPort: 8410 + i }));
  const slow = flows.length - (await steered(lab, vif, flows)).length;
  lab.expect(slow === 0, () => ({
    expected: 'each of 12 flows comes past the driver domain, since `receivesAll` is declared',
    seen: `${slow} of them took the slow path`,
    todo: 'add one filter on the guest’s address; or leave `receivesAll` out, and add one for each flow',
  }));
}
