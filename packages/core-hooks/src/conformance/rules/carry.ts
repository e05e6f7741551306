/** What a plugin carries by its capabilities, and that it declines the rest: lengths, fragments, tags, neighbours. */
import type { Capabilities } from '../../capabilities.js';
import { Checksum } from '../../frame.js';
import { Docs } from '../docs.js';
import { ETHERNET, difference, same } from '../frames.js';
import type { FrameSpec } from '../frames.js';
import type { FrameShape } from '../host/guest-side.js';
import type { Vif } from '../host/vif.js';
import { NEIGHBOUR, serials } from '../lab.js';
import type { Lab } from '../lab.js';
import type { Rule } from '../rule.js';
import { EVERYBODY, GROUP } from './transmit.js';

const FLOW = 0x81;

/** Offers one frame: what it was answered, and what left of it. */
export async function one(
  lab: Lab,
  vif: Vif,
  spec: FrameSpec,
  shape: FrameShape = { checksum: Checksum.good },
): Promise<{ verdict: string; bytes: Uint8Array; left: readonly Uint8Array[] }> {
  const bytes = lab.outward(vif, { flow: FLOW, serial: 1, ...spec });
  vif.host.bench.takeSent();
  const verdict = vif.guest.transmit(bytes, shape);
  await vif.host.run(5);
  return { verdict, bytes, left: vif.host.bench.takeSent() };
}

/** A kind of frame that is carried whole with a capability, and declined without. */
function kind(name: keyof Capabilities, id: string, what: string, specs: readonly FrameSpec[]): Rule {
  return {
    id: `carry.${id}`,
    title: (can) =>
      can[name] === true ? `sends ${what}, as they are` : `declines ${what}: no capability \`${name}\``,
    docs: Docs.front,
    needs: ['transmit.sends'],
    check: async (lab) => {
      const vif = await lab.sending();
      for (const spec of specs) {
        const { verdict, bytes, left } = await one(lab, vif, spec);
        if (lab.can[name] !== true) {
          lab.expect(verdict !== 'sent' && verdict !== 'busy', () => ({
            expected: `${what} are declined, since \`${name}\` is not declared`,
            seen: `one was answered ${verdict}`,
            todo: `declare \`${name}\`, or decline them`,
          }));
          continue;
        }
        lab.expect(verdict === 'sent', () => ({
          expected: `${what} are sent, since \`${name}\` is declared`,
          seen: `one was answered ${verdict}`,
          todo: `send them, or leave \`${name}\` out of the capabilities`,
        }));
        const [seen] = left;
        lab.expect(left.length === 1 && same(seen!, bytes), () => ({
          expected: 'it leaves as it is',
          seen: seen === undefined ? 'nothing left' : difference(seen, bytes),
          todo: 'find the headers with every bound checked, tags and extension headers as well',
        }));
      }
    },
  };
}

export const carryRules: readonly Rule[] = [
  kind('ipv6', 'ipv6', 'IPv6 frames', [{ version: 6 }, { version: 6, protocol: 6, payloadBytes: 700 }]),
  kind('vlan', 'vlan', 'frames with a VLAN tag', [{ vlan: 5 }, { vlan: 4000, protocol: 6 }]),
  kind('ipFragments', 'ip-fragments', 'fragments of IP packets', [
    { fragment: 0x2000 },
    { fragment: 0x0010 },
  ]),
  {
    id: 'carry.longest',
    title: 'sends the longest frame whole, and declines one that is a byte longer',
    docs: Docs.front,
    needs: ['transmit.sends'],
    check: async (lab) => {
      const vif = await lab.sending();
      const longest = Math.min(vif.identity.mtu + ETHERNET, lab.can.maxFrameBytes ?? Infinity);
      const payloadBytes = longest - ETHERNET - 28;
      const whole = await one(lab, vif, { payloadBytes });
      lab.expect(whole.verdict === 'sent' && whole.left.some((each) => same(each, whole.bytes)), () => ({
        expected: `a frame of ${longest} bytes is sent: MTU and Ethernet header, or maxFrameBytes`,
        seen: `it was answered ${whole.verdict}`,
        todo: 'reckon in bytes of the frame with its Ethernet header; declare maxFrameBytes when less fits',
      }));
      const over = await one(lab, vif, { payloadBytes: payloadBytes + 1 });
      lab.expect(over.verdict !== 'sent' && over.verdict !== 'busy', () => ({
        expected: `a frame of ${longest + 1} bytes is declined`,
        seen: `it was answered ${over.verdict}; ${over.left.length} frames left`,
        todo: "decline for `too-long`: the receiver would drop it, or the wire's end cut it off",
      }));
    },
  },
  {
    id: 'carry.fragments',
    title: 'gathers a frame that lies in pieces, or declines it',
    docs: Docs.front,
    needs: ['transmit.sends'],
    check: async (lab) => {
      const vif = await lab.sending();
      for (const cuts of [[60], [60, 400], [100, 0, 1, 300], Array.from({ length: 17 }, () => 60)]) {
        const { verdict, bytes, left } = await one(
          lab,
          vif,
          { payloadBytes: 1200 },
          { checksum: Checksum.good, cuts },
        );
        const mine = left.filter((each) => each.length > 60 || serials([each], FLOW).length > 0);
        lab.expect(verdict !== 'sent' || (mine.length === 1 && same(mine[0]!, bytes)), () => ({
          expected: `a frame of ${cuts.length + 1} pieces leaves as one`,
          seen: mine.length === 0 ? 'it did not leave' : difference(mine[0]!, bytes),
          todo: 'walk the chain by `next`, each piece at its own address and length; decline what has too many',
        }));
      }
    },
  },
  {
    id: 'carry.groups-slow',
    title: 'declines broadcast and multicast, which the bridge delivers to each receiver once',
    docs: Docs.front,
    needs: ['transmit.sends'],
    check: async (lab) => {
      const vif = await lab.sending();
      // Also when somebody claims such an address for a source.
      for (const to of [EVERYBODY, GROUP]) {
        vif.host.arrive(lab.inward(vif, { from: to }));
        await vif.host.run(40);
        const { verdict, left } = await one(lab, vif, { to });
        lab.expect(verdict !== 'sent' && left.length === 0, () => ({
          expected: 'a frame for a group is declined',
          seen: `it was answered ${verdict}`,
          todo: 'look at the lowest bit of the first byte, and decline for `broadcast`',
        }));
      }
    },
  },
  {
    id: 'carry.strangers-slow',
    title: 'declines what is for an address that it has not seen across the wire',
    docs: Docs.front,
    needs: ['transmit.sends'],
    check: async (lab) => {
      const vif = await lab.sending();
      const { verdict } = await one(lab, vif, { to: Uint8Array.of(2, 0, 0, 0, 9, 1) });
      lab.expect(verdict !== 'sent' && verdict !== 'busy', () => ({
        expected: 'a frame to an address never seen is declined: its owner may be a guest of this host',
        seen: `it was answered ${verdict}; on the wire it would be lost`,
        todo: 'send only to addresses that frames came from the wire with; decline for `unknown-destination`',
      }));
    },
  },
  {
    id: 'carry.moved-here',
    title: 'declines what is for a neighbour that has moved to this host, once it shows itself',
    docs: Docs.back,
    needs: ['transmit.sends'],
    check: async (lab) => {
      const vif = await lab.sending();
      const { host } = vif;
      // A guest that moved in announces itself: its frame leaves for the wire by the slow path.
      host.port.leaves(lab.outward(vif, { from: NEIGHBOUR, to: EVERYBODY }));
      await host.run(200);
      const { verdict } = await one(lab, vif, {});
      lab.expect(verdict !== 'sent' && verdict !== 'busy', () => ({
        expected: 'frames to it are declined from then on: it is reached by the bridge, not by the wire',
        seen: `200 ms after its announcement left for the wire a frame to it was answered ${verdict}`,
        todo: 'watch port.onTransmit in the back half, and have the front half forget sources that leave here',
      }));
    },
  },
  {
    id: 'carry.no-spoofing',
    title: "sends no frame with another's source address",
    docs: Docs.front,
    needs: ['transmit.sends'],
    check: async (lab) => {
      const vif = await lab.sending();
      const { verdict, left } = await one(lab, vif, { from: Uint8Array.of(2, 0, 0, 0, 9, 8) });
      lab.expect(left.length === 0, () => ({
        expected: 'a frame whose source is not the guest’s own address does not leave',
        seen: `it was answered ${verdict}, and left`,
        todo: 'compare with services.vif.mac and decline for `spoofed`; have the device check it as well',
      }));
    },
  },
];
