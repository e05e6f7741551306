// Plugins that break any other rule: receive, interrupts, statistics, mailbox, policy, device, the end.
import { Checksum, Frame, FreeFrames, Verdict } from '../../src/index.js';
import type { AcceleratorStatistics, CommonServices, Mailbox, MailboxHandler } from '../../src/index.js';
import type { MemoryCard } from './memory-card.js';
import { front } from './memory-front.js';
import { subject } from './memory-plugin.js';
import { Message, decodePages } from './memory-protocol.js';
import { backServices, bench, card, hooks, services, sneaking, tag } from './tamper.js';
import type { Broken } from './tamper.js';

const FLOW = 0x91;
const never = new Promise<never>(() => undefined);
const zeros = (): AcceleratorStatistics => ({
  txFrames: 0,
  txBytes: 0,
  rxFrames: 0,
  rxBytes: 0,
  txErrors: 0,
  rxErrors: 0,
});

/** A front half that delivers in another way. */
const delivering =
  (change: (frame: Frame, bytes: Uint8Array, deliver: (frame: Frame) => void) => void) => () =>
    services(({ deliver, memory }) => ({
      deliver: (frame) =>
        change(frame, memory.bytes.subarray(frame.address, frame.address + frame.length), deliver),
    }));

/** A half that answers messages of one type, or of any, in another way. */
const handling = (
  half: 'front' | 'back',
  of: number | null,
  change: (good: MailboxHandler, share: () => void) => MailboxHandler,
) => {
  const wrapped = ({ mailbox, share }: CommonServices): Mailbox => ({
    request: mailbox.request,
    handle: (type, handler) => {
      const other = change(handler, () => void share(1, 'read'));
      mailbox.handle(type, of === null || of === type ? other : handler);
    },
  });
  return () =>
    half === 'front'
      ? services((good) => ({ mailbox: wrapped(good) }))
      : backServices((good) => ({ mailbox: wrapped(good) }));
};

export const brokenRest: readonly Broken[] = [
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
    fault: 'arms without a last look',
    rule: 'interrupts.last-look',
    make: () =>
      hooks((good) => ({
        startInterrupts: () => {
          good.startInterrupts();
          return false;
        },
      })),
  },
  {
    fault: 'loses an interrupt now and then',
    rule: 'interrupts.come',
    make: () => {
      let late = false;
      const noting = hooks((good, { memory }) => ({
        startTransmit: (frame, more) => {
          late = tag(memory.bytes.subarray(frame.address, frame.address + frame.length)).flow === 0xc5;
          return good.startTransmit(frame, more);
        },
      }));
      return {
        ...noting,
        frontend: {
          ...noting.frontend,
          newDevice: (given) =>
            noting.frontend.newDevice({
              ...given,
              schedulePoll: () => {
                if (!late) given.schedulePoll();
              },
            }),
        },
      };
    },
  },
  {
    fault: 'gives up when an interrupt had no cause',
    rule: 'interrupts.spurious',
    make: () =>
      hooks((good, { failed }) => {
        let idle = 0;
        return {
          poll: (budget) => {
            const done = good.poll(budget);
            idle = done > 0 ? 0 : idle + 1;
            if (idle > 15) failed('interrupts without a cause');
            return done;
          },
        };
      }),
  },
  {
    fault: 'never lets netfront sleep',
    rule: 'interrupts.settle',
    make: () => hooks((good) => ({ startInterrupts: () => good.startInterrupts() || true })),
  },
  {
    fault: 'sets statistics instead of adding to them',
    rule: 'statistics.adds',
    make: () =>
      hooks((good) => ({
        statistics: (into) => {
          const own = zeros();
          good.statistics(own);
          Object.assign(into, own);
        },
      })),
  },
  {
    fault: 'counts bytes in 32 bits',
    rule: 'statistics.adds',
    make: () =>
      hooks((good) => ({
        statistics: (into) => {
          good.statistics(into);
          into.txBytes = into.txBytes >>> 0;
        },
      })),
  },
  {
    fault: 'answers what came since the last read',
    rule: 'statistics.monotonic',
    make: () =>
      hooks((good) => {
        const before = zeros();
        return {
          statistics: (into) => {
            const now = zeros();
            good.statistics(now);
            for (const key of Object.keys(now) as (keyof AcceleratorStatistics)[]) {
              into[key] += now[key] - before[key];
              before[key] = now[key];
            }
          },
        };
      }),
  },
  {
    fault: 'counts frames that it declines',
    rule: 'statistics.count',
    make: () =>
      hooks((good) => {
        let declined = 0;
        return {
          startTransmit: (frame, more) => {
            const verdict = good.startTransmit(frame, more);
            if (verdict !== Verdict.sent) declined++;
            return verdict;
          },
          statistics: (into) => {
            good.statistics(into);
            into.txFrames += declined;
          },
        };
      }),
  },
  {
    fault: 'takes frames while there is no link',
    rule: 'link.down',
    make: () => sneaking((bytes, made) => !made.up && tag(bytes).flow === 0xe1),
  },
  {
    fault: 'misses that the link is back',
    rule: 'link.up',
    make: () =>
      backServices(({ port }) => ({
        port: {
          ...port,
          onLink: (handler) => {
            let changes = 0;
            return port.onLink((up) => {
              if (++changes <= 2) handler(up);
            });
          },
        },
      })),
  },
  {
    fault: 'does not notice a reset',
    rule: 'reset.noticed',
    make: () => backServices(({ port }) => ({ port: { ...port, onReset: () => () => undefined } })),
  },
  {
    fault: 'goes round the rate limit',
    rule: 'policy.rate',
    make: () => backServices(() => ({ rateBytesPerSecond: 0 })),
  },
  {
    fault: 'does not ring for what waits when it quiesces',
    rule: 'quiesce.drains',
    make: () =>
      hooks((_good, { mailbox }) => ({
        quiesce: async () => {
          await mailbox.request(Message.quiesce, new Uint8Array(0), 500).catch(() => undefined);
        },
      })),
  },
  {
    fault: 'leaves its filters when it quiesces',
    rule: 'quiesce.draws-nothing',
    make: () =>
      hooks((good) => ({
        quiesce: () => {
          good.flush!();
          return Promise.resolve();
        },
      })),
  },
  {
    fault: 'sends after remove',
    rule: 'remove.wire-quiet',
    make: () => {
      let made: MemoryCard;
      const waiting: Uint8Array[] = [];
      const late = card((good, it) => {
        made = it;
        waiting.length = 0;
        return {
          transmit: (session, job) => {
            if (made.held) waiting.push(job.bytes());
            good.transmit(session, job);
          },
        };
      });
      return {
        ...late,
        bench: (machine) => {
          const it = late.bench(machine) as MemoryCard;
          const hold = it.holdTransmit.bind(it);
          it.holdTransmit = (held) => {
            hold(held);
            if (!held && it.resources()['sessions'] === 0) for (const bytes of waiting) it.inject(bytes);
            if (!held) waiting.length = 0;
          };
          return it;
        },
      };
    },
  },
  {
    fault: 'does not answer a message of nine bytes',
    rule: 'mailbox.answers',
    make: handling('front', null, (good) => (payload) => (payload.length === 9 ? never : good(payload))),
  },
  {
    fault: 'takes nonsense for news of the link',
    rule: 'mailbox.goes-on',
    make: handling(
      'front',
      Message.link,
      (good) => (payload) => good(payload.length === 1 ? payload : Uint8Array.of(0)),
    ),
  },
  {
    fault: 'takes memory for a message before it judges it',
    rule: 'mailbox.fields',
    make: handling('back', Message.pages, (good, share) => (payload) => {
      try {
        decodePages(payload);
      } catch {
        share();
      }
      return good(payload);
    }),
  },
  {
    fault: 'takes memory for a message that is out of order',
    rule: 'mailbox.order',
    make: handling('back', Message.open, (good, share) => async (payload) => {
      const reply = await good(payload);
      if (!reply.ok) share();
      return reply;
    }),
  },
];
