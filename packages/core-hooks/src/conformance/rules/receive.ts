/** Receive: that flows come past the driver domain, and what becomes of each frame. */
import { Checksum, Segmentation } from '../../frame.js';
import { Docs } from '../docs.js';
import { TCP, Tcp, UDP, difference, parse, same } from '../frames.js';
import { serials } from '../lab.js';
import type { Rule } from '../rule.js';
import { gaveUp } from './faults.js';
import { FLOW, PORT, fast, flow, inbound, missingOf, steers } from './inbound.js';

/** Frames that are more than any plugin has buffers for. */
const STARVING = 1600;

export const receiveRules: readonly Rule[] = [
  {
    id: 'receive.steers',
    title: (can) =>
      steers(can)
        ? 'has a flow come past the driver domain, once it has seen it on the slow path'
        : 'lets every frame take the slow path: no capability `receiveFilters`',
    docs: Docs.order,
    needs: ['life.attaches'],
    check: async (lab) => {
      const vif = await lab.attached();
      const came = await lab.steer(vif, flow);
      lab.expect(came === steers(lab.can), () =>
        came
          ? {
              expected: 'no frame comes past the driver domain, since `receiveFilters` is not declared',
              seen: 'a flow did',
              todo: 'declare how many filters there are at most: the host and `explain` reckon with it',
            }
          : {
              expected: 'a UDP flow for the guest gets a filter when it is seen again and again',
              seen: '40 frames within two seconds, and all of them took the slow path',
              todo: 'look at frames in port.onReceive of the back half, and add a filter; or leave `receiveFilters` out',
            },
      );
    },
  },
  fast({
    id: 'receive.once',
    title: 'delivers each frame once: not on both paths, and also the one that brought the filter',
    docs: Docs.order,
    check: async (lab) => {
      const vif = await lab.attached();
      await inbound(lab, vif, 0, 100);
      await vif.host.run(100);
      const got = serials(vif.guest.delivered, FLOW);
      const twice = got.find((serial, i) => got.indexOf(serial) !== i);
      lab.expect(twice === undefined, () => ({
        expected: 'each of 100 frames is delivered once while the flow becomes fast',
        seen: `number ${twice} was delivered twice`,
        todo: 'only look in onReceive: the frame that it shows goes on by the slow path; deliver each buffer once',
      }));
    },
  }),
  fast({
    id: 'receive.all',
    title: 'delivers every frame that the device led to it, and gives each buffer back to it',
    docs: Docs.front,
    check: async (lab) => {
      const vif = await lab.receiving(flow);
      await vif.host.run(50);
      const count = 300; // more than there are buffers
      await inbound(lab, vif, 0, count);
      await vif.host.run(100);
      const missing = missingOf(vif, count);
      lab.expect(missing.length === 0, () => ({
        expected: `all of ${count} frames arrive, five at a time with time in between`,
        seen: `${missing.length} are missing, the first: number ${missing[0]}`,
        todo: 'post each receive buffer again when its frame was delivered, or when the stack has let it go',
      }));
    },
  }),
  fast({
    id: 'receive.starved',
    title: 'goes on when it ran out of receive buffers',
    docs: Docs.front,
    needs: ['receive.all'],
    check: async (lab) => {
      const vif = await lab.receiving(flow);
      const { host, guest } = vif;
      await host.run(50);
      guest.polling = false;
      for (let serial = 1000; serial < 1000 + STARVING; serial++)
        host.arrive(lab.inward(vif, { ...flow, serial }));
      await host.run(5);
      guest.polling = true;
      guest.services.schedulePoll();
      await host.run(100);
      if (gaveUp(vif)) return;
      guest.delivered.length = 0;
      await inbound(lab, vif, 0, 60);
      const missing = missingOf(vif, 60);
      lab.expect(missing.length === 0, () => ({
        expected: `after ${STARVING} frames that nobody polled for, those that come later arrive, or failed() is called`,
        seen: `${missing.length} of 60 are missing, the first: number ${missing[0]}`,
        todo: 'post every free buffer at the end of a poll, also when the device had none left',
      }));
    },
  }),
  fast({
    id: 'receive.intact',
    title: 'delivers the bytes that arrived',
    docs: Docs.front,
    check: async (lab) => {
      const vif = await lab.receiving(flow);
      for (const payloadBytes of [8, 333, 1472]) {
        const bytes = lab.inward(vif, { ...flow, serial: payloadBytes, payloadBytes });
        const before = vif.guest.delivered.length;
        vif.host.arrive(bytes);
        await vif.host.run(10);
        const seen = vif.guest.delivered[before];
        lab.expect(seen === undefined || same(seen.bytes, bytes), () => ({
          expected: `a frame of ${bytes.length} bytes is delivered as it is`,
          seen: difference(seen!.bytes, bytes),
          todo: 'describe address and length as the device says, all pieces of a chain included',
        }));
      }
    },
  }),
  fast({
    id: 'receive.held',
    title: 'leaves a delivered frame alone while the stack holds it',
    docs: Docs.front,
    check: async (lab) => {
      const vif = await lab.receiving(flow);
      const { guest, host } = vif;
      guest.keeping = [];
      await inbound(lab, vif, 0, 3);
      const kept = guest.keeping.slice();
      const before = kept.map((frame) =>
        host.top.memory.bytes.slice(frame.address, frame.address + frame.length),
      );
      guest.keeping = null;
      await inbound(lab, vif, 3, 300);
      const changed = kept.findIndex(
        (frame, i) =>
          !same(host.top.memory.bytes.subarray(frame.address, frame.address + frame.length), before[i]!),
      );
      for (const frame of kept) frame.release();
      await host.run(20);
      lab.expect(changed < 0, () => ({
        expected: 'the bytes of a frame that somebody holds stay as they are',
        seen: 'a later frame was received into the same buffer',
        todo: 'post a buffer again when its frame is released by its last holder, not when deliver() returns',
      }));
    },
  }),
  fast({
    id: 'receive.checksum-honest',
    title: 'calls a checksum good only when the hardware verified it',
    docs: Docs.front,
    check: async (lab) => {
      for (const protocol of [UDP, TCP]) {
        const vif = await lab.receiving({ ...flow, protocol });
        vif.host.arrive(lab.inward(vif, { ...flow, protocol, serial: 1, bad: true }));
        await vif.host.run(20);
        const seen = vif.guest.delivered.find((each) => serials([each], FLOW)[0] === 1);
        lab.expect(seen?.checksum !== Checksum.good && seen?.checksum !== Checksum.blank, () => ({
          expected: 'a frame with a wrong checksum is delivered as unknown or bad, or not at all',
          seen: 'it was delivered as verified: the stack takes broken data for good',
          todo: 'set `checksum` to good only when the device’s event says so',
        }));
      }
    },
  }),
  fast({
    id: 'receive.merging',
    title: (can) =>
      can.receiveMerging === true
        ? 'joins TCP segments without losing a byte or a flag'
        : 'delivers TCP segments as they came: no capability `receiveMerging`',
    docs: Docs.front,
    check: async (lab) => {
      const spec = { ...flow, protocol: TCP, payloadBytes: 200, flags: Tcp.ack };
      const vif = await lab.receiving(spec);
      const { host, guest } = vif;
      await host.run(50);
      guest.delivered.length = 0;
      guest.polling = false;
      const count = 6;
      const sent = Array.from({ length: count }, (_, i) =>
        lab.inward(vif, {
          ...spec,
          serial: i,
          id: i,
          sequence: 1000 + 200 * i,
          flags: Tcp.ack | (i === count - 1 ? Tcp.psh | Tcp.fin : 0),
        }),
      );
      for (const bytes of sent) host.arrive(bytes);
      guest.polling = true;
      guest.services.schedulePoll();
      await host.run(30);
      const got = guest.delivered;
      const payload = (all: readonly Uint8Array[]): number[] =>
        all.flatMap((bytes) => {
          const at = parse(bytes);
          return at === null ? [] : [...bytes.subarray(at.payload, at.end)];
        });
      const joined = got.some(
        (each) => each.segmentation !== Segmentation.none || each.bytes.length > sent[0]!.length,
      );
      lab.expect(lab.can.receiveMerging === true || !joined, () => ({
        expected: 'no frames are joined, since `receiveMerging` is not declared',
        seen: 'a joined frame was delivered',
        todo: 'declare `receiveMerging`',
      }));
      lab.expect(same(payload(got.map(({ bytes }) => bytes)), payload(sent)), () => ({
        expected: 'the payload of the delivered frames is that of the segments, in order',
        seen: `${payload(got.map(({ bytes }) => bytes)).length} bytes of ${payload(sent).length}, or others`,
        todo: 'join only segments that follow each other, and deliver what is kept at the end of each poll',
      }));
      const last = got.at(-1);
      const flags = last === undefined ? 0 : (parse(last.bytes)?.flags ?? 0);
      lab.expect((flags & (Tcp.psh | Tcp.fin)) === (Tcp.psh | Tcp.fin), () => ({
        expected: 'PSH and FIN of a segment are still there in what it was joined to',
        seen: `flags 0x${flags.toString(16)} in the last frame`,
        todo: 'OR the flags together, and end the joining there',
      }));
      const bare = got.find((each) => each.bytes.length > sent[0]!.length && each.segmentBytes === 0);
      lab.expect(bare === undefined, () => ({
        expected: 'a joined frame says how it is cut: `segmentation`, `segmentBytes`, a blank checksum',
        seen: 'a frame longer than a segment has segmentBytes 0',
        todo: 'describe joined frames as large segments, since a bridge may have to cut them again',
      }));
    },
  }),
  {
    id: 'receive.in-poll',
    title: 'delivers from poll only',
    docs: Docs.front,
    watched: true,
    check: async (lab) => {
      const vif = await lab.attached();
      await inbound(lab, vif, 0, 40, { flow: 0x92, targetPort: PORT });
    },
  },
  {
    id: 'poll.budget',
    title: 'keeps to its budget: each frame delivered and each completion is one unit',
    docs: Docs.front,
    watched: true,
    needs: ['life.attaches'],
    check: async (lab) => {
      const vif = await lab.attached();
      const { host, guest } = vif;
      if (!(await lab.warm(vif))) return;
      await lab.steer(vif, flow, steers(lab.can) ? 40 : 1);
      guest.polling = false;
      for (let i = 0; i < 12; i++) {
        host.arrive(lab.inward(vif, { ...flow, serial: i }));
        guest.transmit(lab.outward(vif, { flow: 1, serial: i }));
      }
      await host.run(5);
      for (let i = 0; i < 12; i++) guest.poll(1 + (i % 5));
      guest.polling = true;
      guest.services.schedulePoll();
      await host.run(10);
    },
  },
  {
    id: 'poll.empty',
    title: 'answers less than the budget only when nothing is left',
    docs: Docs.front,
    needs: ['transmit.sends'],
    check: async (lab) => {
      const vif = await lab.sending();
      const { host, guest } = vif;
      guest.polling = false;
      for (let i = 0; i < 12; i++) guest.transmit(lab.outward(vif, { flow: 1, serial: i }));
      await host.run(5);
      for (let round = 0; round < 24; round++) {
        const done = guest.poll(3);
        if (done === 3) continue;
        const before = guest.completions;
        guest.poll(64);
        lab.expect(guest.completions === before, () => ({
          expected: 'a poll that answers less than its budget has done all that there was',
          seen: `poll(3) answered ${done}, and the next poll completed ${guest.completions - before} frames more`,
          todo: 'go on until the budget is used up or nothing is left; netfront goes to sleep on less',
        }));
        break;
      }
      guest.polling = true;
      guest.services.schedulePoll();
      await host.run(10);
    },
  },
];
