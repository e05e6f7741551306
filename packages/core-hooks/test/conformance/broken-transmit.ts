// Plugins that break a rule of transmit: verdicts, room, what is carried, what the hardware fills in.
import { Verdict } from '../../src/index.js';
import type { Frame } from '../../src/index.js';
import { MemoryCard } from './memory-card.js';
import type { Job } from './memory-card.js';
import { front } from './memory-front.js';
import { subject } from './memory-plugin.js';
import { cut, fill } from './offload.js';
import { bench, bytesOf, card, hooks, services, sneaking, tag } from './tamper.js';
import type { Broken } from './tamper.js';

const STREAM = 0x51;
const GROUP_BIT = 1;
const isStream = (bytes: Uint8Array, serial: number): boolean => {
  const seen = tag(bytes);
  return seen.flow === STREAM && seen.serial === serial;
};
const isIpv4 = (bytes: Uint8Array): boolean => bytes[12] === 8 && bytes[13] === 0;

/** A card whose frames are posted in another way. */
const posting = (change: (job: Job) => Job) => () =>
  card(({ transmit }) => ({ transmit: (session, job) => transmit(session, change(job)) }));

/** Fills in a checksum, and leaves 0 as it is in UDP over one of the two. */
function withZero(bytes: Uint8Array, ipv4: boolean): Uint8Array {
  fill(bytes);
  const field = ipv4 ? 40 : 60;
  const isUdp = isIpv4(bytes) === ipv4 && bytes[ipv4 ? 23 : 20] === 17;
  if (isUdp && bytes[field] === 0xff && bytes[field + 1] === 0xff) bytes.fill(0, field, field + 2);
  return bytes;
}

export const brokenTransmits: readonly Broken[] = [
  {
    fault: 'declines everything',
    rule: 'transmit.sends',
    make: () => hooks(() => ({ startTransmit: () => Verdict.declined })),
  },
  {
    fault: 'says sent and drops',
    rule: 'transmit.leaves',
    make: posting((job) => (isStream(job.bytes(), 17) ? { ...job, bytes: () => new Uint8Array(60) } : job)),
  },
  {
    fault: 'changes a byte of the payload on its way',
    rule: 'transmit.intact',
    make: posting((job) => ({
      ...job,
      bytes: () => {
        const bytes = job.bytes();
        if (isStream(bytes, 333)) bytes[100]! ^= 1;
        return bytes;
      },
    })),
  },
  {
    fault: 'forgets to complete every fifth frame',
    rule: 'transmit.completes',
    make: () => {
      let n = 0;
      return services(({ completed }) => ({
        completed: (frame) => {
          if (++n % 5 !== 0) completed(frame);
        },
      }));
    },
  },
  {
    fault: 'completes frames twice',
    rule: 'transmit.completes-once',
    make: () =>
      services(({ completed }) => ({
        completed: (frame) => {
          completed(frame);
          completed(frame);
        },
      })),
  },
  {
    fault: 'gives frames back before the device has read them',
    rule: 'transmit.pins',
    make: () => {
      const posted: { address: number; length: number; memory: Uint8Array }[] = [];
      const zeroCopy = hooks((good, given) => {
        const early: Frame[] = [];
        return {
          startTransmit: (frame, more) => {
            if (frame.next !== null) return Verdict.declined;
            const { address, length } = frame;
            const verdict = good.startTransmit(frame, more);
            if (verdict !== Verdict.sent) return verdict;
            posted.push({ address, length, memory: given.memory.bytes });
            early.push(frame);
            given.schedulePoll();
            return verdict;
          },
          poll: (budget) => {
            let work = 0;
            for (; work < budget && early.length > 0; work++) given.completed(early.shift()!);
            return work + good.poll(budget - work);
          },
        };
      });
      return {
        ...zeroCopy,
        frontend: {
          ...zeroCopy.frontend,
          newDevice: (given) => {
            // What the good one completes later was completed already.
            const own = new WeakSet<Frame>();
            return zeroCopy.frontend.newDevice({
              ...given,
              completed: (frame) => {
                if (own.has(frame)) own.delete(frame);
                else {
                  own.add(frame);
                  given.completed(frame);
                }
              },
            });
          },
        },
        bench: (machine) => {
          const made = new MemoryCard(machine);
          const { transmit } = { ...made.device };
          posted.length = 0;
          made.device.transmit = (session, job) => {
            const from = posted.shift();
            const bytes = (): Uint8Array =>
              from === undefined ? job.bytes() : from.memory.slice(from.address, from.address + from.length);
            transmit(session, { ...job, bytes });
          };
          return made;
        },
      };
    },
  },
  {
    fault: 'reorders',
    rule: 'transmit.order',
    make: () =>
      card(({ transmit }) => {
        let held: (() => void) | null = null;
        return {
          transmit: (session, job) => {
            const bytes = job.bytes();
            if (isStream(bytes, 8)) {
              held = () => transmit(session, { ...job, bytes: () => bytes });
              return;
            }
            transmit(session, job);
            held?.();
            held = null;
          },
        };
      }),
  },
  { fault: 'never flushes', rule: 'transmit.flush', make: () => hooks(() => ({ flush: () => undefined })) },
  {
    fault: 'answers nothing to short frames',
    rule: 'transmit.verdict',
    make: () =>
      hooks((good) => ({
        startTransmit: (frame, more) =>
          frame.length < 20 ? (undefined as unknown as Verdict) : good.startTransmit(frame, more),
      })),
  },
  {
    fault: 'changes bytes after it declined',
    rule: 'transmit.untouched',
    make: () =>
      hooks((good, { memory }) => ({
        startTransmit: (frame, more) => {
          const verdict = good.startTransmit(frame, more);
          if (verdict >= Verdict.declined && frame.length > 20) memory.bytes[frame.address + 15]! ^= 1;
          return verdict;
        },
      })),
  },
  {
    fault: 'holds a frame that it answers busy',
    rule: 'transmit.untouched',
    make: () =>
      hooks((good) => ({
        startTransmit: (frame, more) => {
          const verdict = good.startTransmit(frame, more);
          if (verdict === Verdict.busy) frame.tag = ++frame.segmentBytes;
          return verdict;
        },
      })),
  },
  {
    fault: 'throws at very short frames',
    rule: 'hooks.never-throw',
    make: () =>
      hooks((good, { memory }) => ({
        startTransmit: (frame, more) => {
          new DataView(memory.bytes.buffer, frame.address, frame.length).getUint16(12);
          return good.startTransmit(frame, more);
        },
      })),
  },
  {
    fault: 'parks a frame on busy and forgets it',
    rule: 'room.wakes',
    make: () => services(() => ({ wake: () => undefined })),
  },
  {
    fault: 'loses a wake after a while',
    rule: 'room.no-lost-wake',
    make: () =>
      services(({ wake }) => {
        let wakes = 0;
        return {
          wake: () => {
            if (++wakes < 4) wake();
          },
        };
      }),
  },
  {
    fault: 'parks a frame on busy and sends it by itself',
    rule: 'room.busy-takes-nothing',
    make: () => {
      let made: MemoryCard;
      const parking = hooks((good, given) => {
        let parked: Uint8Array | null = null;
        return {
          startTransmit: (frame, more) => {
            const verdict = good.startTransmit(frame, more);
            if (verdict === Verdict.busy) parked = bytesOf(given, frame);
            return verdict;
          },
          poll: (budget) => {
            if (parked !== null && good.checkReady()) {
              made.inject(parked);
              parked = null;
            }
            return good.poll(budget);
          },
        };
      });
      return { ...parking, bench: (machine) => (made = new MemoryCard(machine)) };
    },
  },
  {
    fault: 'is always ready',
    rule: 'room.ready-honest',
    make: () => hooks(() => ({ checkReady: () => true })),
  },
  {
    fault: 'answers busy before it looks at the frame',
    rule: 'room.declines-first',
    make: () =>
      hooks((good) => ({
        startTransmit: (frame, more) => {
          const verdict = good.startTransmit(frame, more);
          return verdict >= Verdict.declined && !good.checkReady() ? Verdict.busy : verdict;
        },
      })),
  },
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
