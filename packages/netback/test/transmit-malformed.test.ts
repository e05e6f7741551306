// Packets of a guest that break a rule: each has its reason, its answers and its counter, and harms no other.
import { describe, expect, test } from 'vitest';
import { ExtraType, Status, TxFlag } from '@netaccel/xen/netif';
import { build } from './frames.js';
import { CLEAN_END, VifLab, pattern } from './lab.js';

const OKAY = { status: Status.okay };
const ERROR = { status: Status.error };
const NULL = { status: Status.null };

describe('a malformed packet is answered with an error in all of its slots, and the next one is served', () => {
  const good = pattern(60, 9);
  const cases: Record<string, { reason: string; slots: object[]; send: (lab: VifLab) => void }> = {
    'shorter than an Ethernet header': {
      reason: 'too-short',
      slots: [ERROR],
      send: ({ frontend: { queue } }) => queue.packet(pattern(13)),
    },
    'of no bytes': {
      reason: 'too-short',
      slots: [ERROR],
      send: ({ frontend: { queue } }) => queue.request({ size: 0 }),
    },
    'with a fragment beyond the end of its page': {
      reason: 'crosses-page',
      slots: [ERROR],
      send: ({ frontend: { queue } }) => queue.request({ offset: 4090, size: 60 }),
    },
    'with an offset beyond its page': {
      reason: 'crosses-page',
      slots: [ERROR],
      send: ({ frontend: { queue } }) => queue.request({ offset: 0xffff, size: 60 }),
    },
    'with a later fragment beyond the end of its page': {
      reason: 'crosses-page',
      slots: [ERROR, ERROR],
      send: ({ frontend: { queue } }) => {
        queue.request({ size: 200, flags: TxFlag.moreData });
        queue.request({ offset: 4000, size: 100 });
      },
    },
    'whose first fragment is over a page long by what the others leave': {
      reason: 'crosses-page',
      slots: [ERROR, ERROR],
      send: ({ frontend: { queue } }) => {
        queue.request({ size: 6000, flags: TxFlag.moreData });
        queue.request({ size: 100 });
      },
    },
    'whose fragments add up to more than the whole': {
      reason: 'fragments-exceed-total',
      slots: [ERROR, ERROR, ERROR],
      send: ({ frontend: { queue } }) => {
        queue.request({ size: 100, flags: TxFlag.moreData });
        queue.request({ size: 60, flags: TxFlag.moreData });
        queue.request({ size: 60 });
      },
    },
    'of nineteen slots': {
      reason: 'too-many-slots',
      slots: Array.from({ length: 19 }, () => ERROR),
      send: ({ frontend: { queue } }) =>
        queue.packet(pattern(190), { fragments: Array.from({ length: 19 }, () => 10) }),
    },
    'of most of a ring of slots': {
      reason: 'too-many-slots',
      slots: Array.from({ length: 200 }, () => ERROR),
      send: ({ frontend: { queue } }) => {
        for (let i = 0; i < 200; i++)
          queue.request({ size: i === 0 ? 2000 : 10, flags: i < 199 ? TxFlag.moreData : 0 });
      },
    },
    'with extra info of type 0': {
      reason: 'extra-info',
      slots: [ERROR, NULL],
      send: ({ frontend: { queue } }) => {
        queue.request({ size: 60, flags: TxFlag.extraInfo });
        queue.extra(ExtraType.none);
      },
    },
    'with extra info of an unknown type, and fragments after it': {
      reason: 'extra-info',
      slots: [ERROR, NULL, ERROR],
      send: ({ frontend: { queue } }) => {
        queue.request({ size: 60, flags: TxFlag.extraInfo | TxFlag.moreData });
        queue.extra(77);
        queue.request({ size: 10 });
      },
    },
    'with more extras than there are types': {
      reason: 'extra-info',
      slots: [ERROR, NULL, NULL, NULL, NULL, NULL, NULL],
      send: ({ frontend: { queue } }) => {
        queue.request({ size: 60, flags: TxFlag.extraInfo });
        for (let i = 0; i < 6; i++) queue.extra(ExtraType.hash, i < 5);
      },
    },
    'with an unknown kind of segmentation': {
      reason: 'segmentation',
      slots: [ERROR, NULL],
      send: ({ frontend: { queue } }) =>
        queue.packet(build({ payload: pattern(900) }), { gso: { type: 3, size: 100 } }),
    },
    'with segmentation none': {
      reason: 'segmentation',
      slots: [ERROR, NULL],
      send: ({ frontend: { queue } }) =>
        queue.packet(build({ payload: pattern(900) }), { gso: { type: 0, size: 100 } }),
    },
    'with segments of no bytes': {
      reason: 'segmentation',
      slots: [ERROR, NULL],
      send: ({ frontend: { queue } }) =>
        queue.packet(build({ payload: pattern(900) }), { gso: { type: 1, size: 0 } }),
    },
    'cut as IPv6 that is IPv4': {
      reason: 'segmentation',
      slots: [ERROR, NULL],
      send: ({ frontend: { queue } }) =>
        queue.packet(build({ payload: pattern(900) }), { gso: { type: 2, size: 100 } }),
    },
    'cut as TCP that is UDP': {
      reason: 'segmentation',
      slots: [ERROR, NULL],
      send: ({ frontend: { queue } }) =>
        queue.packet(build({ protocol: 'udp', payload: pattern(900) }), { gso: { type: 1, size: 100 } }),
    },
    'with a blank checksum and no header that has one': {
      reason: 'checksum',
      slots: [ERROR],
      send: ({ frontend: { queue } }) => queue.packet(pattern(60), { flags: TxFlag.csumBlank }),
    },
    'with a blank checksum in an IP fragment': {
      reason: 'checksum',
      slots: [ERROR],
      send: ({ frontend: { queue } }) => {
        const frame = build({ payload: pattern(60), checksum: 'pseudo' });
        frame[20] = 0x20;
        queue.packet(frame, { flags: TxFlag.csumBlank });
      },
    },
    'whose TCP header ends behind the packet': {
      reason: 'checksum',
      slots: [ERROR],
      send: ({ frontend: { queue } }) => {
        const frame = build({ checksum: 'pseudo' });
        frame[46] = 0xf0;
        queue.packet(frame, { flags: TxFlag.csumBlank });
      },
    },
    'by a grant that does not exist': {
      reason: 'copy-failed',
      slots: [ERROR],
      send: ({ frontend: { queue } }) => queue.request({ gref: 0x00ff_ffff, size: 60 }),
    },
    'by a second grant that does not exist': {
      reason: 'copy-failed',
      slots: [ERROR, ERROR, ERROR],
      send: ({ frontend: { queue } }) => {
        queue.request({ size: 100, flags: TxFlag.moreData });
        queue.request({ gref: 0xffff_ffff, size: 20, flags: TxFlag.moreData });
        queue.request({ size: 20 });
      },
    },
  };
  for (const [name, { reason, slots, send }] of Object.entries(cases))
    test(name, async () => {
      const lab = await VifLab.connected();
      const { queue } = lab.frontend;
      queue.packet(good);
      send(lab);
      queue.packet(good);
      const responses = await lab.exchange();
      expect(responses.map(({ status }) => ({ status }))).toEqual([OKAY, ...slots, OKAY]);
      expect(lab.network.frames.map(({ bytes }) => bytes)).toEqual([good, good]);
      const { txErrors, txFrames } = lab.netback.statistics();
      expect(Object.entries(txErrors).filter(([, count]) => count > 0)).toEqual([[reason, 1]]);
      expect(txFrames).toBe(2);
      expect(await lab.end()).toEqual(CLEAN_END);
    });
});
