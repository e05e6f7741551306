/** Interrupts and statistics: no event is lost, none is made up, and what moved is counted. */
import { Docs } from '../docs.js';
import { zeros } from '../host/vif.js';
import type { AcceleratorStatistics } from '../../frontend.js';
import type { Rule } from '../rule.js';
import { declinable, stream } from './transmit.js';
import type { FrameSpec } from '../frames.js';

const SLEEPING = 0xc5;
const flow: FrameSpec = { flow: 0xc1, targetPort: 8500 };
const KEYS = ['txFrames', 'txBytes', 'rxFrames', 'rxBytes', 'txErrors', 'rxErrors'] as const;
/** Beyond 32 bits, and exact in a number. */
const LARGE = 2 ** 40;

export const interruptRules: readonly Rule[] = [
  {
    id: 'interrupts.last-look',
    title: 'arms with a last look: what came before the arm is not lost',
    docs: Docs.front,
    needs: ['transmit.completes'],
    check: async (lab) => {
      const vif = await lab.sending();
      const { host, guest } = vif;
      guest.polling = false;
      while (guest.poll(64) > 0);
      guest.arm();
      guest.disarm();
      guest.poll(64);
      const sent = guest.transmit(lab.outward(vif, { flow: 1, serial: 1 }));
      await host.run(10); // the completion is there, and nobody polls
      const { asked } = guest;
      const events = guest.arm();
      await host.run(10);
      const told = events || guest.asked > asked;
      guest.polling = true;
      guest.services.schedulePoll();
      await host.run(10);
      lab.expect(sent !== 'sent' || told, () => ({
        expected: 'with an event waiting, startInterrupts() answers true, or an interrupt comes at once',
        seen: 'it answered false, and no poll was asked for: the frame would never be completed',
        todo: 'in startInterrupts() look at the event queue after arming, and answer true if there is something',
      }));
    },
  },
  {
    id: 'interrupts.come',
    title: 'asks for a poll when something comes after it was armed, each time',
    docs: Docs.front,
    needs: ['transmit.completes'],
    check: async (lab) => {
      const vif = await lab.sending();
      const { host, guest } = vif;
      for (let round = 1; round <= 5; round++) {
        await host.run(20); // netfront is asleep
        const { asked } = guest;
        const sent = guest.transmit(lab.outward(vif, { flow: SLEEPING, serial: round }));
        const came = await host.until(() => guest.asked > asked, 50);
        const waiting = guest.inFlight.size;
        guest.services.schedulePoll();
        await host.run(5);
        lab.expect(sent !== 'sent' || came || waiting === 0, () => ({
          expected: 'schedulePoll() is called when a frame was sent while netfront slept',
          seen: `no poll was asked for in round ${round}`,
          todo: 'bind the device’s interrupt, call schedulePoll() in its handler, and unmask() the channel when arming',
        }));
      }
    },
  },
  {
    id: 'interrupts.spurious',
    title: 'takes interrupts without a cause, and arming and disarming at any time',
    docs: Docs.front,
    needs: ['transmit.completes'],
    check: async (lab) => {
      const vif = await lab.sending();
      const { host, guest } = vif;
      for (let i = 0; i < 20; i++) {
        for (const port of host.top.openPorts) host.top.raise(port);
        guest.disarm();
        await host.settle();
        guest.arm();
        guest.arm();
      }
      guest.services.schedulePoll();
      await host.run(20);
      guest.transmit(lab.outward(vif, { flow: 0xc0, serial: 1 }));
      await host.run(20);
      lab.expect(guest.inFlight.size === 0 && vif.front.failures.length === 0, () => ({
        expected: 'it goes on as before',
        seen: vif.front.failures[0] ?? 'a frame sent afterwards is never completed',
        todo: 'let a handler only ask for a poll, and a poll find nothing without complaint',
      }));
    },
  },
  {
    id: 'interrupts.settle',
    title: 'lets netfront go to sleep when nothing is left',
    docs: Docs.front,
    watched: true,
    check: async (lab) => {
      const vif = await lab.attached();
      vif.guest.services.schedulePoll();
      await vif.host.run(20);
    },
  },
  {
    id: 'statistics.adds',
    title: 'adds its totals to what is there, beyond 32 bits',
    docs: Docs.front,
    needs: ['life.attaches'],
    check: async (lab) => {
      const vif = await lab.attached();
      if (await lab.warm(vif)) await stream(lab, vif, 12);
      const plain = vif.statistics() ?? zeros();
      // Totals that change without traffic are another rule's.
      const again = vif.statistics() ?? zeros();
      if (KEYS.some((key) => plain[key] !== again[key])) return;
      const into = Object.fromEntries(
        KEYS.map((key, i) => [key, LARGE + i]),
      ) as unknown as AcceleratorStatistics;
      vif.statistics(into);
      const wrong = KEYS.find((key, i) => into[key] !== LARGE + i + plain[key]);
      lab.expect(wrong === undefined, () => ({
        expected: 'statistics(into) adds to each field, exactly, whatever it holds',
        seen: `${wrong!}: ${LARGE + KEYS.indexOf(wrong!)} and ${plain[wrong!]} came out as ${into[wrong!]}`,
        todo: 'write `into.txFrames += total`; use no bit operators on totals, which cut them to 32 bits',
      }));
    },
  },
  {
    id: 'statistics.monotonic',
    title: 'counts upwards only',
    docs: Docs.front,
    needs: ['life.attaches'],
    check: async (lab) => {
      const vif = await lab.attached();
      await lab.warm(vif);
      let before = vif.statistics() ?? zeros();
      for (let round = 0; round < 4; round++) {
        if (round % 2 === 1) await stream(lab, vif, 10);
        const now = vif.statistics() ?? zeros();
        const fell = KEYS.find((key) => now[key] < before[key]);
        lab.expect(fell === undefined, () => ({
          expected: 'no total is ever lower than it was',
          seen: `${fell!} went from ${before[fell!]} to ${now[fell!]}`,
          todo: 'never reset totals while attached: netfront takes differences',
        }));
        before = now;
      }
    },
  },
  {
    id: 'statistics.count',
    title: 'counts what it moved, up to the last read before it is detached',
    docs: Docs.front,
    needs: ['transmit.completes', 'receive.all', 'receive.once', 'statistics.monotonic'],
    check: async (lab) => {
      const vif = await lab.sending();
      const { guest, host } = vif;
      const start = vif.statistics() ?? zeros();
      const completions = guest.completions;
      await stream(lab, vif, 20);
      for (const [, spec, shape] of declinable) guest.transmit(lab.outward(vif, { flow: 1, ...spec }), shape);
      if ((lab.can.receiveFilters ?? 0) > 0) {
        await lab.steer(vif, flow);
        for (let i = 0; i < 20; i++) host.arrive(lab.inward(vif, { ...flow, serial: i }));
        await host.run(20);
      }
      const received = guest.delivered.filter(({ path }) => path === 'fast').length;
      await host.run(20);
      const sent = guest.completions - completions;
      const { totals } = await vif.detach();
      const counted = [
        ['txFrames', sent, (totals?.txFrames ?? 0) - start.txFrames],
        ['rxFrames', received, (totals?.rxFrames ?? 0) - start.rxFrames],
      ] as const;
      for (const [name, moved, said] of counted)
        lab.expect(moved === said, () => ({
          expected: `${name} goes up by ${moved}, the frames that it ${name === 'txFrames' ? 'sent' : 'delivered'}`,
          seen: `it went up by ${said}`,
          todo: 'count each frame once, and answer the same until remove()',
        }));
    },
  },
];
