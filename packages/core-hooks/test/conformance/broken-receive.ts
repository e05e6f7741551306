// Plugins that break a rule of receive or of polling.
import { Checksum, Frame, FreeFrames } from '../../src/index.js';
import { front } from './memory-front.js';
import { subject } from './memory-plugin.js';
import { backServices, bench, card, hooks, services, tag } from './tamper.js';
import type { Broken } from './tamper.js';

const FLOW = 0x91;

/** A front half that delivers in another way. */
const delivering =
  (change: (frame: Frame, bytes: Uint8Array, deliver: (frame: Frame) => void) => void) => () =>
    services(({ deliver, memory }) => ({
      deliver: (frame) =>
        change(frame, memory.bytes.subarray(frame.address, frame.address + frame.length), deliver),
    }));

export const brokenReceives: readonly Broken[] = [
  {
    fault: 'never adds a filter',
    rule: 'receive.steers',
    make: () =>
      card(() => ({
        claim: () => {
          throw new Error('no filters here');
        },
      })),
  },
  {
    fault: 'has filters, and does not say so',
    rule: 'receive.steers',
    make: () => {
      const { receiveFilters: _, ...capabilities } = front.capabilities;
      return subject({ frontend: { ...front, capabilities } });
    },
  },
  {
    fault: 'delivers a frame twice',
    rule: 'receive.once',
    make: delivering((frame, bytes, deliver) => {
      deliver(frame);
      if (tag(bytes).flow === FLOW && tag(bytes).serial === 77) deliver(frame);
    }),
  },
  {
    fault: 'leaks receive buffers',
    rule: 'receive.all',
    make: delivering((frame, bytes, deliver) => {
      deliver(frame);
      if (tag(bytes).flow === FLOW && tag(bytes).serial % 8 === 0) frame.hold();
    }),
  },
  {
    fault: 'does not wait for the fence',
    rule: 'receive.order',
    make: () => services(() => ({ passed: () => true })),
  },
  {
    fault: 'does not wait for what the driver domain has',
    rule: 'receive.order',
    make: () => backServices(({ port }) => ({ port: { ...port, received: () => Promise.resolve() } })),
  },
  {
    fault: 'cuts the last byte off full frames',
    rule: 'receive.intact',
    make: delivering((frame, bytes, deliver) => {
      if (bytes.length === 1514) frame.totalBytes = --frame.length;
      deliver(frame);
    }),
  },
  {
    fault: 'receives into a buffer that the stack has',
    rule: 'receive.held',
    make: delivering((frame, _bytes, deliver) => {
      const alias = new Frame(new FreeFrames(), 0, frame.home, frame.capacity);
      alias.hold();
      alias.describe(frame.address, frame.length);
      alias.checksum = frame.checksum;
      deliver(alias);
    }),
  },
  {
    fault: 'filters for another guest',
    rule: 'receive.own-only',
    make: () => card(({ claim }) => ({ claim: (session, { key }) => claim(session, { mac: '*', key }) })),
  },
  {
    fault: 'has more filters than its quota',
    rule: 'receive.quota',
    make: () => backServices(({ limits }) => ({ limits: { ...limits, maxFilters: 99 } })),
  },
  {
    fault: 'draws fragments',
    rule: 'receive.groups-slow',
    make: () =>
      bench((good) => ({
        arrive: (bytes) =>
          bytes[0] === 2 && bytes[12] === 8 && bytes[20]! + bytes[21]! > 0 ? 'guest' : good.arrive(bytes),
      })),
  },
  {
    fault: 'calls every checksum good',
    rule: 'receive.checksum-honest',
    make: delivering((frame, _bytes, deliver) => {
      frame.checksum = Checksum.good;
      deliver(frame);
    }),
  },
  {
    fault: 'loses FIN',
    rule: 'receive.merging',
    make: delivering((frame, bytes, deliver) => {
      if (bytes[23] === 6 && bytes[12] === 8) bytes[47]! &= ~1;
      deliver(frame);
    }),
  },
  {
    fault: 'delivers outside of poll',
    rule: 'receive.in-poll',
    make: delivering((frame, bytes, deliver) => {
      if (tag(bytes).flow !== 0x92) return deliver(frame);
      frame.hold();
      queueMicrotask(() => {
        deliver(frame);
        frame.release();
      });
    }),
  },
  {
    fault: 'works on beyond its budget',
    rule: 'poll.budget',
    make: () => hooks((good) => ({ poll: (budget) => Math.min(budget, good.poll(budget + 8)) })),
  },
  {
    fault: 'stops before it is done, and says that nothing is left',
    rule: 'poll.empty',
    make: () => hooks((good) => ({ poll: (budget) => good.poll(budget === 3 ? 2 : budget) })),
  },
  {
    fault: 'loses the buffers that were full when it ran out of them',
    rule: 'receive.starved',
    make: delivering((frame, bytes, deliver) => {
      deliver(frame);
      if (tag(bytes).flow === FLOW && tag(bytes).serial >= 1000 && tag(bytes).serial < 3000) frame.hold();
    }),
  },
  {
    fault: 'has the flow give way that got its filter first',
    rule: 'receive.eviction',
    make: () =>
      card(({ lastUsed }) => ({
        // Long ago, and longer for the earlier ones.
        lastUsed: (session, claim) => Math.min(lastUsed(session, claim), claim / 1000 - 1e6),
      })),
  },
  {
    fault: 'never has a flow give way',
    rule: 'receive.eviction',
    make: () => card(() => ({ lastUsed: () => Infinity })),
  },
  {
    fault: 'keeps received frames for the next poll when it is to end',
    rule: 'receive.order-back',
    make: () =>
      subject({
        frontend: {
          ...front,
          newDevice: async (given) => {
            let ending = false;
            const kept: Frame[] = [];
            const keep = (frame: Frame): void => {
              frame.hold();
              kept.push(frame);
            };
            const device = await front.newDevice({
              ...given,
              deliver: (frame) => (ending ? keep(frame) : given.deliver(frame)),
            });
            const poll = device.poll.bind(device);
            const quiesce = device.quiesce.bind(device);
            return Object.assign(device, {
              quiesce: () => {
                ending = true;
                return quiesce();
              },
              poll: (budget: number) => {
                const before = kept.splice(0);
                for (const frame of before) {
                  given.deliver(frame);
                  frame.release();
                }
                const done = poll(budget - before.length);
                if (kept.length > 0) given.schedulePoll();
                return done + before.length;
              },
            });
          },
        },
      }),
  },
  {
    fault: 'waits for no fence when a flow comes back that it had before',
    rule: 'receive.order-again',
    make: () => {
      let claims = 0;
      const counting = card((good) => {
        claims = 0;
        return {
          claim: (session, claim) => {
            claims++;
            return good.claim(session, claim);
          },
        };
      });
      return {
        ...counting,
        frontend: {
          ...front,
          newDevice: (given) =>
            front.newDevice({ ...given, passed: (fence) => claims > 2 || given.passed(fence) }),
        },
      };
    },
  },
];
