/** What the host has decided for a vif, and where its neighbours are: the fast path keeps to it as the slow one does. */
import { announcements } from '../announcements.js';
import { Docs } from '../docs.js';
import { TCP } from '../frames.js';
import type { FrameSpec } from '../frames.js';
import type { Vif } from '../host/vif.js';
import { NEIGHBOUR } from '../lab.js';
import type { Lab } from '../lab.js';
import type { Rule } from '../rule.js';
import { one } from './carry.js';

const flow = { flow: 0xe9, targetPort: 8750 };
const RATE = 1_000_000;
/** What netback's own shaping lets through at once. */
const BURST = 131_072;
/** A bridge forgets an address after 5 minutes; twice that has to be enough for a plugin. */
const FORGET_MS = 600_000;
/** Last byte of an address that is not the guest's. */
const SOMEBODY = 77;

const taken = (verdict: string): boolean => verdict === 'sent' || verdict === 'busy';

/** Offers frames at more than the rate, for a quarter of a second: bytes that left, and what may have. */
async function flood(lab: Lab, vif: Vif): Promise<{ bytes: number; most: number }> {
  const { host, guest } = vif;
  const began = host.clock.now();
  host.bench.takeSent();
  for (let serial = 0; serial < 500; serial++) {
    guest.transmit(lab.outward(vif, { ...flow, serial, payloadBytes: 1400 }));
    if (serial % 4 === 3) await host.run(2);
  }
  const bytes = host.bench.takeSent().reduce((sum, frame) => sum + frame.length, 0);
  return { bytes, most: BURST + ((host.clock.now() - began) * RATE) / 1000 };
}

export const policyRules: readonly Rule[] = [
  {
    id: 'policy.rate',
    title: (can) =>
      can.transmitRate === true
        ? 'sends on a vif with a rate limit, and no more than that'
        : 'leaves a vif with a rate limit to the slow path: no capability `transmitRate`',
    docs: Docs.back,
    needs: ['transmit.sends'],
    check: async (lab) => {
      const honours = lab.can.transmitRate === true;
      const vif = lab.host({ rateBytesPerSecond: RATE }).vif();
      const refused = await vif.attach();
      lab.expect(refused === null || !honours, () => ({
        expected: `a vif limited to ${RATE} bytes per second is attached, since \`transmitRate\` is declared`,
        seen: refused!,
        todo: 'take the credit of services.onCredit; or leave `transmitRate` out, and reject in probe()',
      }));
      if (refused !== null) return;
      const warm = await lab.warm(vif);
      lab.expect(warm || !honours, () => ({
        expected: 'frames of a vif with a rate limit are sent as long as there is credit',
        seen: 'none was',
        todo: 'add what the onCredit handler is given to what may be sent',
      }));
      const { bytes, most } = warm ? await flood(lab, vif) : { bytes: 0, most: 0 };
      lab.expect(bytes <= most, () => ({
        expected: `of a vif limited to ${RATE} bytes per second no more than ${Math.round(most)} bytes leave`,
        seen: `${bytes} bytes left`,
        todo: 'spend only what onCredit gives, and decline for `rate` or wait; or reject in probe() when rateBytesPerSecond is not 0',
      }));
      lab.expect(!honours || bytes >= (most - BURST) / 4, () => ({
        expected: 'most of what there is credit for is sent',
        seen: `${bytes} bytes left in a time for which there was credit for ${Math.round(most - BURST)}`,
        todo: 'let what waits for credit go when onCredit gives it, and answer what did not fit',
      }));
    },
  },
  {
    id: 'policy.source-address',
    title: 'sends no packet from an IP address that is not its guest’s, on a vif that says which those are',
    docs: Docs.back,
    needs: ['transmit.sends', 'carry.no-spoofing'],
    check: async (lab) => {
      const vif = lab.host({ ownAddresses: true }).vif();
      // A plugin that cannot check leaves such a vif to the slow path.
      if ((await vif.attach()) !== null || !(await lab.warm(vif))) return;
      const { can } = lab;
      const cases: (readonly [string, FrameSpec])[] = [
        ['a UDP datagram', {}],
        ['a TCP segment', { protocol: TCP }],
        ['a packet of another protocol', { protocol: 1 }],
      ];
      // What it does not carry at all is another rule's.
      if (can.ipv6 === true) cases.push(['an IPv6 packet', { version: 6 }]);
      if (can.vlan === true) cases.push(['a packet with a VLAN tag', { vlan: 5 }]);
      if (can.ipFragments === true) cases.push(['a later fragment', { fragment: 0x0010 }]);
      for (const [what, spec] of cases) {
        const { verdict, left } = await one(lab, vif, { ...spec, source: SOMEBODY });
        lab.expect(left.length === 0, () => ({
          expected: `${what} from an address that is not in services.vif.addresses does not leave`,
          seen: `it was answered ${verdict}, and left`,
          todo: 'have the device check the source address of all that it sends, tags and IPv6 included, and decline for `spoofed`; or reject in probe() when services.vif.addresses is there',
        }));
      }
      for (const version of can.ipv6 === true ? ([4, 6] as const) : ([4] as const)) {
        const { verdict, left } = await one(lab, vif, { version });
        lab.expect(left.length === 1, () => ({
          expected: `an IPv${version} packet from the guest’s own address goes on to leave`,
          seen: `it was answered ${verdict}, and did not`,
          todo: 'compare with each of services.vif.addresses: 4 bytes for IPv4, 16 for IPv6',
        }));
      }
    },
  },
  {
    id: 'policy.announcements',
    title:
      'learns from gratuitous ARP, IPv6 neighbour advertisement and RARP that a neighbour moved here, and away',
    docs: Docs.back,
    needs: ['transmit.sends', 'carry.moved-here'],
    check: async (lab) => {
      for (const { what, frame } of announcements) {
        const vif = await lab.sending();
        const { host } = vif;
        const announced = frame(NEIGHBOUR, 100);
        host.port.leaves(announced);
        await host.run(200);
        const here = await one(lab, vif, {});
        lab.expect(!taken(here.verdict), () => ({
          expected: `frames to a neighbour are declined once ${what} of it has left for the wire: it is on this host`,
          seen: `one was answered ${here.verdict} 200 ms later`,
          todo: 'look at the source of every frame that port.onTransmit shows, whatever its protocol',
        }));
        // It moves on: the same frame arrives from the wire.
        host.arrive(announced);
        const back = await lab.warm(vif);
        lab.expect(back, () => ({
          expected: `frames to it are sent again when it has announced itself from the wire (${what}) and goes on from there`,
          seen: 'they are declined for good',
          todo: 'keep for each address where it was seen last, and tell the front half of each change',
        }));
      }
    },
  },
  {
    id: 'policy.ageing',
    title: `forgets a neighbour that it has not heard for ${FORGET_MS / 60_000} minutes`,
    docs: Docs.front,
    needs: ['transmit.sends'],
    check: async (lab) => {
      const vif = await lab.sending();
      const { host } = vif;
      await host.sleep(FORGET_MS);
      await one(lab, vif, {}); // the time may be known to within a poll only: this frame brings one
      const { verdict } = await one(lab, vif, {});
      lab.expect(!taken(verdict), () => ({
        expected: 'a frame to it is declined: the bridge has forgotten it by then, and floods',
        seen: `it was answered ${verdict}; if the neighbour is elsewhere by now, all that is sent to it is lost`,
        todo: 'keep the time at which each address was last heard of, and believe none that is older than 5 minutes',
      }));
      lab.expect(await lab.warm(vif), () => ({
        expected: 'it is sent to again once it has been heard of',
        seen: 'frames to it are declined for good',
        todo: 'have the back half tell of an address again from time to time, not only once',
      }));
    },
  },
];
