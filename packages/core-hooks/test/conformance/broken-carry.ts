// Plugins that break a rule of what they carry, or of what the hardware fills in and cuts.
import { Verdict } from '../../src/index.js';
import { front } from './memory-front.js';
import { subject } from './memory-plugin.js';
import { cut, fill } from './offload.js';
import { bench, hooks, isIpv4, posting, services, sneaking } from './tamper.js';
import type { Broken } from './tamper.js';

const GROUP_BIT = 1;

/** Fills in a checksum, and leaves 0 as it is in UDP over one of the two. */
function withZero(bytes: Uint8Array, ipv4: boolean): Uint8Array {
  fill(bytes);
  const field = ipv4 ? 40 : 60;
  const isUdp = isIpv4(bytes) === ipv4 && bytes[ipv4 ? 23 : 20] === 17;
  if (isUdp && bytes[field] === 0xff && bytes[field + 1] === 0xff) bytes.fill(0, field, field + 2);
  return bytes;
}

export const brokenCarries: readonly Broken[] = [
  {
    fault: 'says that it sends IPv6, and declines it',
    rule: 'carry.ipv6',
    make: () =>
      hooks((good, { memory }) => ({
        startTransmit: (frame, more) =>
          memory.bytes[frame.address + 12] === 0x86 && frame.checksum === 1
            ? Verdict.declined
            : good.startTransmit(frame, more),
      })),
  },
  {
    fault: 'sends VLAN tags, and does not say so',
    rule: 'carry.vlan',
    make: () => sneaking((bytes) => bytes[12] === 0x81),
  },
  {
    fault: 'strips the tag of a frame that it says it carries',
    rule: 'carry.vlan',
    make: () =>
      sneaking(
        (bytes) => bytes[12] === 0x81,
        (bytes) => Uint8Array.from([...bytes.subarray(0, 12), ...bytes.subarray(16)]),
        { capabilities: { ...front.capabilities, vlan: true } },
      ),
  },
  {
    fault: 'sends fragments, and does not say so',
    rule: 'carry.ip-fragments',
    make: () =>
      sneaking(
        (bytes) =>
          isIpv4(bytes) && bytes.length > 34 && (bytes[20]! & 0x3f) + bytes[21]! > 0 && bytes[0] === 2,
      ),
  },
  {
    fault: 'cuts off what is too long',
    rule: 'carry.longest',
    make: () =>
      sneaking(
        (bytes) => bytes.length === 1515 && bytes[0] === 2,
        (bytes) => bytes.slice(0, 1514),
      ),
  },
  {
    fault: 'sends the first piece of a frame for all of it',
    rule: 'carry.fragments',
    make: () =>
      hooks((good) => ({
        startTransmit: (frame, more) => {
          const { next, totalBytes } = frame;
          if (next === null || next.length === 0 || frame.length < 60) return good.startTransmit(frame, more);
          frame.next = null;
          const verdict = good.startTransmit(frame, more);
          frame.next = next;
          frame.totalBytes = totalBytes;
          return verdict;
        },
      })),
  },
  {
    fault: 'sends broadcast',
    rule: 'carry.groups-slow',
    make: () => sneaking((bytes) => (bytes[0]! & GROUP_BIT) === 1 && bytes.length === 50),
  },
  {
    fault: 'sends to strangers',
    rule: 'carry.strangers-slow',
    make: () => sneaking((bytes) => bytes[4] === 9 && bytes[5] === 1),
  },
  {
    fault: 'does not hear that a neighbour moved here',
    rule: 'carry.moved-here',
    make: () =>
      services(({ mailbox: { request, handle } }) => ({
        mailbox: {
          request,
          handle: (type, handler) =>
            handle(type, (payload) =>
              payload.length === 7 && payload[0] === 0
                ? { ok: true, payload: new Uint8Array(0) }
                : handler(payload),
            ),
        },
      })),
  },
  {
    fault: "sends with another's address",
    rule: 'carry.no-spoofing',
    make: () => sneaking((bytes) => bytes[10] === 9 && bytes[11] === 8),
  },
  {
    fault: 'leaves blank checksums as they are',
    rule: 'offload.checksum-ipv4',
    make: posting((job) => (job.segmentBytes === 0 && isIpv4(job.bytes()) ? { ...job, blank: false } : job)),
  },
  {
    fault: 'fills in checksums, and does not say so',
    rule: 'offload.checksum-ipv4',
    make: () => {
      const { checksumIpv4: _, ...capabilities } = front.capabilities;
      return subject({ frontend: { ...front, capabilities } });
    },
  },
  {
    fault: 'mends checksums that are wrong',
    rule: 'offload.checksum-ipv6',
    make: posting((job) => (isIpv4(job.bytes()) ? job : { ...job, blank: true })),
  },
  {
    fault: 'writes a checksum of UDP that comes out as 0 as 0',
    rule: 'offload.udp-zero-ipv4',
    make: () => bench(() => ({ fill: (bytes) => withZero(bytes, true) })),
  },
  {
    fault: 'does so over IPv6',
    rule: 'offload.udp-zero-ipv6',
    make: () => bench(() => ({ fill: (bytes) => withZero(bytes, false) })),
  },
  {
    fault: 'gives all segments one id',
    rule: 'offload.segmentation-tcpv4',
    make: () =>
      bench(() => ({
        cut: (bytes, segmentBytes) => {
          const frames = cut(bytes, segmentBytes);
          if (isIpv4(bytes))
            for (const frame of frames) {
              const sum =
                (frame[24]! << 8) +
                frame[25]! +
                (frame[18]! << 8) +
                frame[19]! -
                ((bytes[18]! << 8) + bytes[19]!);
              frame.set(bytes.subarray(18, 20), 18);
              const folded = (sum & 0xffff) + (sum >> 16);
              frame[24] = folded >> 8;
              frame[25] = folded;
            }
          return frames;
        },
      })),
  },
  {
    fault: 'repeats a sequence number',
    rule: 'offload.segmentation-tcpv6',
    make: () =>
      bench(() => ({
        cut: (bytes, segmentBytes) => {
          const frames = cut(bytes, segmentBytes);
          if (!isIpv4(bytes)) frames[1]?.set(frames[0]!.subarray(58, 62), 58);
          return frames;
        },
      })),
  },
];
