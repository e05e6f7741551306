/** Transmit: one verdict for each frame, and what it means. */
import { Checksum, Segmentation } from '../../frame.js';
import { Docs } from '../docs.js';
import { TCP, UDP, difference, same } from '../frames.js';
import type { FrameSpec } from '../frames.js';
import type { FrameShape } from '../host/guest-side.js';
import type { Vif } from '../host/vif.js';
import { serials } from '../lab.js';
import type { Lab } from '../lab.js';
import type { Rule } from '../rule.js';

const ODD_FRAMES = 1500;
const FLOW = 0x51;

/** Sends numbered frames, one after the other as there is room; the serials of those answered `sent`. */
export async function stream(
  lab: Lab,
  vif: Vif,
  count: number,
  spec: FrameSpec = {},
  shape: FrameShape = {},
): Promise<number[]> {
  const { host, guest } = vif;
  const sent: number[] = [];
  for (let serial = 0; serial < count; serial++) {
    const bytes = lab.outward(vif, { flow: FLOW, serial, ...spec });
    for (let tries = 0; tries < 8; tries++) {
      const verdict = guest.transmit(bytes, shape, serial % 4 !== 3);
      if (verdict === 'sent') sent.push(serial);
      if (verdict !== 'busy') break;
      await host.run(5);
    }
    if (serial % 4 === 3) await host.run(1);
  }
  guest.flush();
  await host.run(20);
  return sent;
}

export const transmitRules: readonly Rule[] = [
  {
    id: 'transmit.sends',
    title: 'sends a UDP frame to a neighbour across the wire, once it has seen it there',
    docs: Docs.front,
    needs: ['life.attaches'],
    check: async (lab) => {
      const vif = await lab.attached();
      lab.expect(await lab.warm(vif), () => ({
        expected: 'frames to an address that frames came from are answered `sent` before long',
        seen: `after a second and 24 frames from there it still answers ${vif.guest.transmit(lab.outward(vif))}`,
        todo: 'see which reason it declines for; learn neighbours from port.onReceive of the back half',
      }));
    },
  },
  {
    id: 'transmit.leaves',
    title: 'puts each frame that it answered `sent` on the wire, once',
    docs: Docs.front,
    needs: ['transmit.sends'],
    check: async (lab) => {
      const vif = await lab.sending();
      const sent = await stream(lab, vif, 40);
      const left = serials(vif.host.bench.takeSent(), FLOW);
      const lost = sent.filter((serial) => !left.includes(serial));
      const twice = left.filter((serial, i) => left.indexOf(serial) !== i);
      lab.expect(lost.length === 0 && twice.length === 0, () => ({
        expected: 'a frame that is answered `sent` leaves, once',
        seen:
          lost.length > 0
            ? `${lost.length} of ${sent.length} never left, the first: number ${lost[0]}`
            : `number ${twice[0]} left twice`,
        todo: 'answer `sent` only when the hardware has the frame; else `busy`, or a reason to decline',
      }));
    },
  },
  {
    id: 'transmit.intact',
    title: 'puts the bytes on the wire that it was offered',
    docs: Docs.front,
    needs: ['transmit.sends'],
    check: async (lab) => {
      const vif = await lab.sending();
      for (const payloadBytes of [8, 9, 333, 1000, 1472]) {
        const bytes = lab.outward(vif, { flow: FLOW, serial: payloadBytes, payloadBytes });
        vif.guest.transmit(bytes, { checksum: Checksum.good });
        await vif.host.run(5);
        const left = vif.host.bench.takeSent().filter((each) => serials([each], FLOW)[0] === payloadBytes);
        for (const each of left)
          lab.expect(same(each, bytes), () => ({
            expected: `a frame of ${bytes.length} bytes leaves as it is`,
            seen: difference(each, bytes),
            todo: 'send all fragments at their full length; fill in nothing but a checksum that is blank',
          }));
      }
    },
  },
  {
    id: 'transmit.completes',
    title: 'completes each frame that it answered `sent`',
    docs: Docs.front,
    needs: ['transmit.sends'],
    check: async (lab) => {
      const vif = await lab.sending();
      const sent = await stream(lab, vif, 40);
      await vif.host.run(100);
      const missing = vif.guest.inFlight.size;
      lab.expect(missing === 0, () => ({
        expected: 'completed() is called for each frame once the hardware is done with it',
        seen: `${missing} of ${sent.length} frames are still out when the wire has been quiet for 100 ms`,
        todo: 'complete in poll(), and have an interrupt or schedulePoll() lead there',
      }));
    },
  },
  {
    id: 'transmit.completes-once',
    title: 'completes no frame twice, none that it was not given, and none from inside startTransmit',
    docs: Docs.front,
    watched: true,
    check: async (lab) => {
      const vif = await lab.sending();
      await stream(lab, vif, 20);
    },
  },
  {
    id: 'transmit.pins',
    title: (can) =>
      can.zeroCopyTransmit === true
        ? 'completes a frame only when it has left: until then its memory is not used again (zero copy)'
        : 'completes a frame only when it has been sent or copied',
    docs: Docs.front,
    needs: ['transmit.sends'],
    check: async (lab) => {
      const vif = await lab.sending();
      const { host, guest } = vif;
      host.bench.holdTransmit(true);
      const wanted = new Map<number, Uint8Array>();
      for (let serial = 0; serial < 4; serial++) {
        const bytes = lab.outward(vif, { flow: FLOW, serial, payloadBytes: 200 });
        if (guest.transmit(bytes) === 'sent') wanted.set(serial, bytes);
      }
      await host.run(20);
      const early = guest.inFlight.size < wanted.size;
      host.bench.holdTransmit(false);
      await host.run(20);
      const left = host.bench.takeSent();
      for (const [serial, bytes] of wanted) {
        // The kit overwrites the memory of a completed frame: a frame sent from there is not the one that was offered.
        const spoiled = !left.some((each) => same(each, bytes));
        lab.expect(!spoiled || !early, () => ({
          expected: 'the memory of a frame is not given back before its bytes were read',
          seen: `frame ${serial} was completed while the device had not sent it, and left spoiled`,
          todo: 'call completed() when the device reports the frame, or copy its bytes before',
        }));
      }
    },
  },
  {
    id: 'transmit.order',
    title: 'sends frames in the order in which they were offered',
    docs: Docs.order,
    needs: ['transmit.sends'],
    check: async (lab) => {
      const vif = await lab.sending();
      await stream(lab, vif, 60);
      const left = serials(vif.host.bench.takeSent(), FLOW);
      const wrong = left.findIndex((serial, i) => i > 0 && serial < left[i - 1]!);
      lab.expect(wrong < 0, () => ({
        expected: "a flow's frames leave in order",
        seen: `number ${left[wrong]} left after number ${left[wrong - 1]}`,
        todo: 'use one queue for a flow, and let no frame pass another in it',
      }));
    },
  },
  {
    id: 'transmit.flush',
    title: 'keeps no frame back: what waited for more goes with the last of the batch, or with flush()',
    docs: Docs.front,
    needs: ['transmit.sends'],
    check: async (lab) => {
      const vif = await lab.sending();
      const { host, guest } = vif;
      const last = async (serial: number, end: () => void, how: string): Promise<void> => {
        const sent = guest.transmit(lab.outward(vif, { flow: FLOW, serial }), {}, true);
        end();
        await host.run(10);
        const left = serials(host.bench.takeSent(), FLOW);
        lab.expect(sent !== 'sent' || left.includes(serial), () => ({
          expected: `a frame that was offered with more to follow leaves with ${how}`,
          seen: 'it was still waiting 10 ms later',
          todo: 'ring the doorbell when `more` is false and in flush(); a plugin without flush() is never told of more',
        }));
      };
      await last(1, () => guest.flush(), 'flush()');
      await last(2, () => guest.transmit(lab.outward(vif, { flow: 1, serial: 2 })), 'the last of the batch');
      await last(
        3,
        () => {
          guest.transmit(lab.outward(vif, { flow: 1, serial: 3, to: GROUP }));
          guest.flush();
        },
        'flush() after a frame that was declined',
      );
    },
  },
  {
    id: 'transmit.verdict',
    title: `answers a verdict to whatever it is offered: ${ODD_FRAMES} odd frames`,
    docs: Docs.front,
    needs: ['life.attaches'],
    watched: true,
    check: async (lab) => {
      await oddFrames(lab);
    },
  },
  {
    id: 'transmit.untouched',
    title: 'leaves a frame that it does not take as it is: bytes, metadata, holders',
    docs: Docs.front,
    needs: ['life.attaches'],
    watched: true,
    check: async (lab) => {
      const vif = await lab.attached();
      await lab.warm(vif);
      for (const [, spec, shape] of declinable) vif.guest.transmit(lab.outward(vif, spec), shape);
      vif.host.bench.holdTransmit(true);
      for (let i = 0; i < 2000; i++) {
        const verdict = vif.guest.transmit(lab.outward(vif, { flow: FLOW, serial: i }));
        if (verdict !== 'sent' || vif.guest.pool.free === 0) break;
      }
      vif.host.bench.holdTransmit(false);
      await vif.host.run(20);
    },
  },
  {
    id: 'hooks.never-throw',
    title: 'throws from no hook and no handler',
    docs: Docs.front,
    needs: ['life.attaches'],
    watched: true,
    check: async (lab) => {
      const vif = await oddFrames(lab);
      for (let i = 0; i < 64; i++) {
        const bytes = lab.inward(vif, { flow: i, version: i % 2 === 0 ? 4 : 6 });
        vif.host.arrive(bytes.slice(0, 14 + lab.random(bytes.length - 14)));
        vif.host.port.leaves(bytes.slice(0, 14 + lab.random(bytes.length - 14)));
      }
      await vif.host.run(20);
    },
  },
];

/** A group's address, and everybody's. */
export const GROUP = Uint8Array.of(0x33, 0x33, 0, 0, 0, 1);
export const EVERYBODY = new Uint8Array(6).fill(0xff);

/** Frames that a plugin may well decline: by name, and how each is made. */
export const declinable: readonly (readonly [string, FrameSpec, FrameShape])[] = [
  ['for everybody', { to: EVERYBODY }, {}],
  ['for a group', { to: GROUP }, {}],
  ['to a stranger', { to: Uint8Array.of(2, 0, 0, 0, 9, 9) }, {}],
  ['with a VLAN tag', { vlan: 5 }, {}],
  ['that is a fragment', { fragment: 0x2010 }, {}],
  ['of ICMP', { protocol: 1 }, {}],
  ["with another's source address", { from: Uint8Array.of(2, 0, 0, 0, 9, 8) }, {}],
  ['that is too long', { payloadBytes: 1473 }, {}],
  ['of UDP that is to be cut', { payloadBytes: 1400 }, shapeOf(Segmentation.tcpv4, 500)],
  ['of segments of nothing', { protocol: TCP, payloadBytes: 1400 }, shapeOf(Segmentation.tcpv4, 0)],
];

/** A large segment's shape. */
export function shapeOf(segmentation: Segmentation, segmentBytes: number): FrameShape {
  return { checksum: Checksum.blank, segmentation, segmentBytes };
}

async function oddFrames(lab: Lab): Promise<Vif> {
  const vif = await lab.attached();
  const { host, guest } = vif;
  await lab.warm(vif);
  for (let i = 0; i < lab.times(ODD_FRAMES); i++) {
    const whole = lab.outward(vif, {
      version: lab.random(2) === 0 ? 4 : 6,
      protocol: lab.random(2) === 0 ? TCP : UDP,
      payloadBytes: lab.random(1600),
      serial: i,
    });
    const bytes = lab.random(4) === 0 ? whole.slice(0, 1 + lab.random(whole.length)) : whole;
    for (let n = lab.random(3); n > 0; n--) bytes[lab.random(bytes.length)] = lab.random(256);
    const cuts = lab.random(3) === 0 ? [lab.random(bytes.length), lab.random(60)] : [];
    const shape: FrameShape =
      lab.random(3) === 0
        ? { ...shapeOf(lab.random(3) as Segmentation, lab.random(lab.random(2) === 0 ? 100 : 3000)), cuts }
        : { checksum: lab.random(4) as Checksum, cuts };
    guest.transmit(bytes, shape, lab.random(2) === 0);
    if (i % 16 === 15) {
      guest.flush();
      await host.settle();
      guest.poll(64);
    }
  }
  await host.run(5);
  return vif;
}
