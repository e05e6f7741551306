/** What the hardware fills in or cuts: checksums once, segments right; without the capability, not at all. */
import type { Capabilities } from '../../capabilities.js';
import { Checksum, Segmentation } from '../../frame.js';
import { Docs } from '../docs.js';
import { TCP, Tcp, UDP, difference, parse, same } from '../frames.js';
import type { FrameSpec } from '../frames.js';
import type { Rule } from '../rule.js';
import { one } from './carry.js';
import { shapeOf } from './transmit.js';

/** Payloads of a large segment: cut evenly, with a rest, and one that is only just more than one. */
const LARGE: readonly (readonly [payloadBytes: number, segmentBytes: number])[] = [
  [6000, 1000],
  [7001, 1400],
  [1401, 1400],
];
const SEQUENCE = 0xffff_f000;
const ID = 0xfffe;

function checksumRule(name: 'checksumIpv4' | 'checksumIpv6', version: 4 | 6): Rule {
  const ip = `IPv${version}`;
  return {
    id: `offload.checksum-ipv${version}`,
    title: (can) =>
      can[name] === true
        ? `fills in blank checksums of TCP and UDP over ${ip}, and no others`
        : `declines blank checksums over ${ip}: no capability \`${name}\``,
    docs: Docs.front,
    needs: ['transmit.sends'],
    check: async (lab) => {
      const vif = await lab.sending();
      const specs: FrameSpec[] = [UDP, TCP].flatMap((protocol) =>
        [8, 101, 1000].map((payloadBytes) => ({ version, protocol, payloadBytes, blank: true })),
      );
      for (const spec of specs) {
        const { verdict, left } = await one(lab, vif, spec, { checksum: Checksum.blank });
        if (lab.can[name] !== true) {
          lab.expect(verdict !== 'sent' && verdict !== 'busy', () => ({
            expected: `a frame with a blank checksum is declined, since \`${name}\` is not declared`,
            seen: `it was answered ${verdict}`,
            todo: 'decline for `checksum`, and netfront fills it in on the slow path; or declare what the device can',
          }));
          continue;
        }
        lab.expect(verdict === 'sent', () => ({
          expected: `a frame with a blank checksum is sent, since \`${name}\` is declared`,
          seen: `it was answered ${verdict}`,
          todo: `send it, or leave \`${name}\` out of the capabilities`,
        }));
        const wanted = lab.outward(vif, { flow: 0x81, serial: 1, ...spec, blank: false });
        for (const seen of left)
          lab.expect(same(seen, wanted), () => ({
            expected: `${spec.protocol === TCP ? 'TCP' : 'UDP'} over ${ip}: the checksum is filled in, over the pseudo header too`,
            seen: difference(seen, wanted),
            todo: 'let the hardware fill it in, or sum pseudo header and segment; UDP writes 0 as 0xffff',
          }));
      }
      if (lab.can[name] !== true) return;
      const { bytes, left } = await one(lab, vif, { version, bad: true }, { checksum: Checksum.unknown });
      for (const seen of left)
        lab.expect(same(seen, bytes), () => ({
          expected: 'a checksum that is not blank is left alone, even if it is wrong',
          seen: difference(seen, bytes),
          todo: 'ask the hardware to fill in only frames whose `checksum` is `blank`',
        }));
    },
  };
}

/** A datagram whose checksum comes out as 0, which UDP writes as 0xffff: 0 would say that there is none (RFC 768). */
function udpZeroRule(name: 'checksumIpv4' | 'checksumIpv6', version: 4 | 6): Rule {
  return {
    id: `offload.udp-zero-ipv${version}`,
    title: (can) =>
      can[name] === true
        ? `writes a checksum of UDP over IPv${version} that comes out as 0 as 0xffff`
        : `declines a datagram over IPv${version} whose checksum would come out as 0: no capability \`${name}\``,
    docs: Docs.front,
    needs: ['transmit.sends', `offload.checksum-ipv${version}`],
    check: async (lab) => {
      const vif = await lab.sending();
      const spec = { version, flow: 0x81_0000, serial: 1 };
      // What is missing of the sum is put into the payload.
      const short = lab.outward(vif, spec);
      const { l4 } = parse(short)!;
      const zero = { ...spec, flow: spec.flow + (short[l4 + 6]! << 8) + short[l4 + 7]! };
      const { verdict, left } = await one(lab, vif, { ...zero, blank: true }, { checksum: Checksum.blank });
      if (lab.can[name] !== true) {
        lab.expect(verdict !== 'sent' && verdict !== 'busy', () => ({
          expected: `a frame with a blank checksum is declined, since \`${name}\` is not declared`,
          seen: `it was answered ${verdict}`,
          todo: 'decline for `checksum`, and netfront fills it in on the slow path; or declare what the device can',
        }));
        return;
      }
      for (const seen of left)
        lab.expect(seen[l4 + 6] === 0xff && seen[l4 + 7] === 0xff, () => ({
          expected: `a UDP checksum over IPv${version} that comes out as 0 is written as 0xffff`,
          seen: difference(seen, lab.outward(vif, zero)),
          todo: 'write 0xffff where the sum of a UDP datagram comes out as 0; of TCP, 0 is written as it is',
        }));
    },
  };
}

function segmentationRule(name: 'segmentationTcpv4' | 'segmentationTcpv6', version: 4 | 6): Rule {
  const ip = `IPv${version}`;
  const kind = version === 4 ? Segmentation.tcpv4 : Segmentation.tcpv6;
  return {
    id: `offload.segmentation-tcpv${version}`,
    title: (can: Capabilities) =>
      can[name] === true
        ? `cuts TCP over ${ip}: sequence, ${version === 4 ? 'id, ' : ''}flags, lengths, checksums`
        : `declines large segments of TCP over ${ip}: no capability \`${name}\``,
    docs: Docs.front,
    needs: ['transmit.sends'],
    check: async (lab) => {
      const vif = await lab.sending();
      for (const [payloadBytes, segmentBytes] of LARGE) {
        const flags = Tcp.ack | Tcp.psh | Tcp.fin | Tcp.cwr;
        const spec = { version, protocol: TCP, payloadBytes, sequence: SEQUENCE, flags, id: ID, blank: true };
        const { verdict, bytes, left } = await one(lab, vif, spec, shapeOf(kind, segmentBytes));
        if (lab.can[name] !== true) {
          lab.expect(verdict !== 'sent' && verdict !== 'busy', () => ({
            expected: `a large segment is declined, since \`${name}\` is not declared`,
            seen: `it was answered ${verdict}`,
            todo: 'decline for `segmentation`, and the slow path carries it; or declare what the device can',
          }));
          continue;
        }
        lab.expect(verdict === 'sent', () => ({
          expected: `a large segment of ${payloadBytes} bytes is sent, since \`${name}\` is declared`,
          seen: `it was answered ${verdict}`,
          todo: `send it, or leave \`${name}\` out of the capabilities`,
        }));
        const wrong = segmentsProblem(bytes, left, segmentBytes);
        lab.expect(wrong === null, () => ({
          expected: `${payloadBytes} bytes of TCP over ${ip} leave in segments of ${segmentBytes}`,
          seen: wrong!,
          todo: 'per segment: sequence and id go up, FIN and PSH on the last only, CWR on the first only, lengths and checksums anew',
        }));
      }
    },
  };
}

/** What is wrong with the segments of a frame, or null. */
function segmentsProblem(
  whole: Uint8Array,
  segments: readonly Uint8Array[],
  segmentBytes: number,
): string | null {
  const head = parse(whole)!;
  const count = Math.ceil((head.end - head.payload) / segmentBytes);
  if (segments.length !== count) return `${segments.length} segments instead of ${count}`;
  for (const [i, segment] of segments.entries()) {
    const at = parse(segment);
    const name = `segment ${i + 1} of ${count}`;
    const from = head.payload + i * segmentBytes;
    if (at === null) return `${name} is no TCP frame`;
    if (at.end !== segment.length) return `${name} has ${segment.length} bytes, its IP header says ${at.end}`;
    if (
      !same(
        segment.subarray(at.payload, at.end),
        whole.subarray(from, Math.min(from + segmentBytes, head.end)),
      )
    )
      return `${name} has other payload`;
    const sequence = (SEQUENCE + i * segmentBytes) >>> 0;
    if (at.sequence !== sequence) return `${name} has sequence ${at.sequence} instead of ${sequence}`;
    if (head.version === 4 && at.id !== ((ID + i) & 0xffff))
      return `${name} has id ${at.id} instead of ${(ID + i) & 0xffff}`;
    const last = i === count - 1;
    const wanted = head.flags & (last ? 0xff : ~(Tcp.fin | Tcp.psh)) & (i === 0 ? 0xff : ~Tcp.cwr);
    if (at.flags !== wanted)
      return `${name} has flags 0x${at.flags.toString(16)} instead of 0x${wanted.toString(16)}`;
    if (!at.headerGood) return `${name} has a wrong IPv4 header checksum`;
    if (!at.transportGood) return `${name} has a wrong TCP checksum`;
  }
  return null;
}

export const offloadRules: readonly Rule[] = [
  checksumRule('checksumIpv4', 4),
  checksumRule('checksumIpv6', 6),
  udpZeroRule('checksumIpv4', 4),
  udpZeroRule('checksumIpv6', 6),
  segmentationRule('segmentationTcpv4', 4),
  segmentationRule('segmentationTcpv6', 6),
];
