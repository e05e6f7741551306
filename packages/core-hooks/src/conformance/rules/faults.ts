/** What a plugin does when its queues on the device fail: it goes on, or asks to be taken off. */
import { Docs } from '../docs.js';
import type { Vif } from '../host/vif.js';
import { zeros } from '../host/vif.js';
import { serials } from '../lab.js';
import type { Lab } from '../lab.js';
import { UntestedError } from '../rule.js';
import type { Rule } from '../rule.js';
import { steers } from './inbound.js';
import { stream } from './transmit.js';

const FLOW = 0xd1;
const flow = { flow: FLOW, targetPort: 8600 };

/** A half asked to be taken off: the host does, and what was under way goes by the slow path. */
export function gaveUp(vif: Vif): boolean {
  return vif.front.failures.length + vif.back.failures.length > 0;
}

/** Frames to the guest, and whether all of them were delivered. */
async function receives(lab: Lab, vif: Vif, count: number): Promise<boolean> {
  vif.guest.delivered.length = 0;
  for (let serial = 0; serial < count; serial++) {
    vif.host.arrive(lab.inward(vif, { ...flow, serial }));
    await vif.host.run(5);
  }
  await vif.host.run(50);
  return new Set(serials(vif.guest.delivered, FLOW)).size === count;
}

export const faultRules: readonly Rule[] = [
  {
    id: 'faults.events',
    title: 'goes on when its event queue overflowed, or asks to be taken off',
    docs: Docs.front,
    needs: ['transmit.completes'],
    check: async (lab) => {
      const vif = await lab.sending();
      const { host, guest } = vif;
      if (steers(lab.can) && !(await lab.steer(vif, flow))) throw new UntestedError('receive.steers');
      await host.run(50);
      guest.polling = false;
      if (host.bench.fault?.('events') !== true) return;
      for (let serial = 0; serial < 6; serial++) {
        guest.transmit(lab.outward(vif, { ...flow, serial }));
        host.arrive(lab.inward(vif, { ...flow, serial }));
      }
      await host.run(5);
      guest.polling = true;
      guest.services.schedulePoll();
      await host.run(200);
      if (gaveUp(vif)) return;
      const todo =
        'when the device says that events were lost, poll on, tell it that there is room, and look at what it had done; ' +
        'or call failed()';
      const missing = guest.inFlight.size;
      lab.expect(missing === 0, () => ({
        expected: 'what was sent meanwhile is completed once there is room for events, or failed() is called',
        seen: `${missing} frames were never completed`,
        todo,
      }));
      await stream(lab, vif, 20);
      await host.run(50);
      lab.expect(guest.inFlight.size === 0 && (await receives(lab, vif, 10)), () => ({
        expected:
          'frames that are sent and that arrive later are completed and delivered, or failed() is called',
        seen: guest.inFlight.size > 0 ? 'later ones are never completed' : 'later ones are not delivered',
        todo,
      }));
    },
  },
  {
    id: 'faults.rights',
    title: 'completes and counts what the device refused, and goes on; or asks to be taken off',
    docs: Docs.front,
    needs: ['transmit.completes', 'statistics.adds'],
    check: async (lab) => {
      const vif = await lab.sending();
      const { host, guest } = vif;
      await stream(lab, vif, 8);
      const before = (vif.statistics() ?? zeros()).txErrors;
      if (host.bench.fault?.('rights') !== true) return;
      for (let serial = 0; serial < 4; serial++) guest.transmit(lab.outward(vif, { ...flow, serial }));
      await host.run(200);
      if (gaveUp(vif)) return;
      const missing = guest.inFlight.size;
      lab.expect(missing === 0, () => ({
        expected: 'a frame that the device refused is completed all the same, or failed() is called',
        seen: `${missing} frames were never completed`,
        todo: 'take back every frame of the queue that stopped, complete them in poll(), and start the queue again',
      }));
      const counted = (vif.statistics() ?? zeros()).txErrors - before;
      lab.expect(counted > 0, () => ({
        expected: 'a frame that the hardware failed to send is counted in txErrors',
        seen: 'txErrors did not change',
        todo: 'count each frame that is given back unsent',
      }));
      host.bench.takeSent();
      const sent = (await lab.warm(vif)) ? await stream(lab, vif, 20) : [];
      const left = serials(host.bench.takeSent(), 0x51);
      lab.expect(sent.length > 0 && sent.every((serial) => left.includes(serial)), () => ({
        expected: 'later frames leave',
        seen:
          sent.length === 0
            ? 'none is taken any more'
            : `${sent.length - left.length} of ${sent.length} did not`,
        todo: 'start the queue again behind the descriptor that was refused; or call failed()',
      }));
    },
  },
];
