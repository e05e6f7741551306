/** Room: what `busy` means, and the wake that ends it. */
import { releaseChain } from '../../frame.js';
import type { Frame } from '../../frame.js';
import { Verdict } from '../../verdict.js';
import { Docs } from '../docs.js';
import type { Vif } from '../host/vif.js';
import { serials } from '../lab.js';
import type { Lab } from '../lab.js';
import type { Rule } from '../rule.js';
import { declinable } from './transmit.js';

const FLOW = 0x71;
const ROUNDS = 12;
const WAKE_MS = 200;

/** A frame that there was no room for, and those before it. */
interface Full {
  readonly kept: Frame;
  readonly serial: number;
  readonly sent: readonly number[];
}

/** Fills a device whose wire takes nothing; null when it takes every frame that netfront has. */
async function fill(lab: Lab, vif: Vif, from = 0): Promise<Full | null> {
  const { host, guest } = vif;
  host.bench.holdTransmit(true);
  const sent: number[] = [];
  for (let serial = from; guest.pool.free > 1; serial++) {
    const frame = guest.frame(lab.outward(vif, { flow: FLOW, serial }));
    const verdict = guest.offer(frame, serial % 8 !== 7);
    if (verdict === Verdict.busy) return { kept: frame, serial, sent };
    if (verdict === Verdict.sent) sent.push(serial);
    else releaseChain(frame);
    if (serial % 8 === 7) await host.settle();
  }
  host.bench.holdTransmit(false);
  guest.flush();
  await host.run(50);
  host.bench.takeSent();
  return null;
}

/** Waits for the wake, and offers the kept frame again as netfront does; what it is answered. */
async function offerAgain(vif: Vif, { kept }: Full, wakesBefore: number): Promise<string> {
  const { host, guest } = vif;
  if (!(await host.until(() => guest.wakes > wakesBefore, WAKE_MS))) return 'no wake';
  for (let tries = 0; tries < 8; tries++) {
    const verdict = guest.offer(kept);
    if (verdict === Verdict.sent) return 'sent';
    if (verdict !== Verdict.busy) break;
    await host.run(5);
  }
  releaseChain(kept);
  return 'not taken';
}

export const roomRules: readonly Rule[] = [
  {
    id: 'room.wakes',
    title: 'calls wake() when there is room again after it answered `busy`',
    docs: Docs.front,
    needs: ['transmit.sends'],
    check: async (lab) => {
      const vif = await lab.sending();
      const full = await fill(lab, vif);
      if (full === null) return;
      const { wakes } = vif.guest;
      vif.host.bench.holdTransmit(false);
      const answer = await offerAgain(vif, full, wakes);
      if (answer === 'no wake') releaseChain(full.kept);
      lab.expect(answer !== 'no wake', () => ({
        expected: 'wake() is called once the wire has taken what was before the busy frame',
        seen: `nothing for ${WAKE_MS} ms; netfront has stopped the queue and waits`,
        todo: 'note that a frame was answered busy, and call wake() from the poll that makes room',
      }));
    },
  },
  {
    id: 'room.no-lost-wake',
    title: `wakes after every busy, whenever room comes: ${ROUNDS} rounds`,
    docs: Docs.front,
    needs: ['room.wakes'],
    check: async (lab) => {
      const vif = await lab.sending();
      const { host, guest } = vif;
      let serial = 0;
      for (let round = 0; round < ROUNDS; round++) {
        const full = await fill(lab, vif, serial);
        if (full === null) return;
        serial = full.serial + 1;
        const { wakes } = guest;
        if (round % 3 === 1) guest.polling = false; // room comes while netfront is elsewhere
        host.bench.holdTransmit(false);
        if (round % 3 === 1) await host.run(3);
        guest.polling = true;
        if (round % 3 === 2) host.bench.holdTransmit(true); // and goes again at once
        const answer = await offerAgain(vif, full, wakes);
        host.bench.holdTransmit(false);
        await host.run(30);
        host.bench.takeSent();
        lab.expect(answer !== 'no wake', () => ({
          expected: 'each busy is followed by a wake once there is room',
          seen: `no wake in round ${round + 1}`,
          todo: 'look again for room after noting that a frame waits; clear the note only when wake() is called',
        }));
      }
    },
  },
  {
    id: 'room.busy-takes-nothing',
    title: 'takes nothing when it answers `busy`: the frame leaves when it is offered again, once',
    docs: Docs.front,
    needs: ['transmit.sends', 'transmit.pins'],
    check: async (lab) => {
      const vif = await lab.sending();
      const { host, guest } = vif;
      const full = await fill(lab, vif);
      if (full === null) return;
      const { serial, kept } = full;
      host.bench.holdTransmit(false);
      await host.run(50);
      const parked = serials(host.bench.takeSent(), FLOW).includes(serial);
      lab.expect(!parked, () => ({
        expected:
          'a frame that was answered busy stays netfront’s, which offers it again or sends it by the slow path',
        seen: 'it left by itself; netfront would send it once more',
        todo: 'keep no busy frame: answer busy, and wait for the next offer',
      }));
      if (guest.offer(kept) !== Verdict.sent) releaseChain(kept);
      await host.run(20);
      const times = serials(host.bench.takeSent(), FLOW).filter((each) => each === serial).length;
      lab.expect(times <= 1, () => ({
        expected: 'a frame that was busy leaves once',
        seen: `it left ${times} times`,
        todo: 'keep no busy frame: answer busy, and wait for the next offer',
      }));
    },
  },
  {
    id: 'room.ready-honest',
    title: 'answers checkReady() as it would answer the frame',
    docs: Docs.front,
    needs: ['transmit.sends'],
    check: async (lab) => {
      const vif = await lab.sending();
      const { host, guest } = vif;
      const full = await fill(lab, vif);
      if (full === null) return;
      const ready = guest.ready();
      const verdict = guest.name(guest.offer(full.kept));
      host.bench.holdTransmit(false);
      if (verdict !== 'sent') releaseChain(full.kept);
      await host.run(50);
      lab.expect(!(ready && verdict === 'busy'), () => ({
        expected: 'checkReady() is false while the frame would be answered busy',
        seen: 'it answered true, and the same frame was answered busy',
        todo: 'look at the room that startTransmit looks at',
      }));
      const later = guest.ready();
      lab.expect(later, () => ({
        expected: 'checkReady() is true when the wire has taken everything',
        seen: 'it answers false for ever; netfront never offers again',
        todo: 'look at the room that startTransmit looks at',
      }));
    },
  },
  {
    id: 'room.declines-first',
    title: 'decides every reason to decline before it answers `busy`',
    docs: Docs.front,
    needs: ['transmit.sends'],
    check: async (lab) => {
      const vif = await lab.sending();
      const { host, guest } = vif;
      const before = declinable.map(([, spec, shape]) => guest.transmit(lab.outward(vif, spec), shape));
      await host.run(5);
      const full = await fill(lab, vif);
      if (full === null) return;
      releaseChain(full.kept);
      declinable.forEach(([what, spec, shape], i) => {
        const now = guest.transmit(lab.outward(vif, spec), shape);
        lab.expect(before[i] === 'sent' || now !== 'busy', () => ({
          expected: `a frame ${what} is declined (${before[i]}) also when there is no room`,
          seen: 'it was answered busy: netfront keeps it at the head of the queue, where it blocks all others',
          todo: 'ask for room last, when nothing else speaks against the frame',
        }));
      });
      host.bench.holdTransmit(false);
      await host.run(20);
    },
  },
];
