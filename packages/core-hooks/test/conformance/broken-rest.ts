// Plugins that break any other rule: interrupts, statistics, mailbox, the end.
import { Verdict } from '../../src/index.js';
import type { AcceleratorStatistics, CommonServices, Mailbox, MailboxHandler } from '../../src/index.js';
import type { MemoryCard } from './memory-card.js';
import { Message, decodePages } from './memory-protocol.js';
import { backServices, card, hooks, services, tag } from './tamper.js';
import type { Broken } from './tamper.js';

const never = new Promise<never>(() => undefined);
const zeros = (): AcceleratorStatistics => ({
  txFrames: 0,
  txBytes: 0,
  rxFrames: 0,
  rxBytes: 0,
  txErrors: 0,
  rxErrors: 0,
});

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
  {
    fault: 'cannot say its totals once it was removed',
    rule: 'hooks.never-throw',
    make: () =>
      hooks((good) => {
        let gone = false;
        return {
          statistics: (into) => {
            if (gone) throw new Error('gone already');
            good.statistics(into);
          },
          remove: () => {
            gone = true;
            return good.remove();
          },
        };
      }),
  },
];
