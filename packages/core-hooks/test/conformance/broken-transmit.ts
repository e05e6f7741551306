// Plugins that break a rule of transmit: verdicts, room, what is carried, what the hardware fills in.
import { Verdict } from '../../src/index.js';
import type { Frame } from '../../src/index.js';
import { MemoryCard } from './memory-card.js';
import { bytesOf, card, hooks, posting, services, tag } from './tamper.js';
import type { Broken } from './tamper.js';

const STREAM = 0x51;
const isStream = (bytes: Uint8Array, serial: number): boolean => {
  const seen = tag(bytes);
  return seen.flow === STREAM && seen.serial === serial;
};
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
];
