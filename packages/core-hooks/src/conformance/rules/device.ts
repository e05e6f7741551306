/** The device and its end: link, reset, and what quiesce and remove promise of the wire. */
import { Docs } from '../docs.js';
import { Deadline } from '../host/vif.js';
import type { Vif } from '../host/vif.js';
import { serials } from '../lab.js';
import type { Lab } from '../lab.js';
import type { Rule } from '../rule.js';

const FLOW = 0xe1;
const flow = { flow: FLOW, targetPort: 8700 };

/** Whether a frame that is offered leaves. */
async function leaves(lab: Lab, vif: Vif): Promise<boolean> {
  vif.guest.transmit(lab.outward(vif, flow));
  await vif.host.run(20);
  return serials(vif.host.bench.takeSent(), FLOW).length > 0;
}

export const deviceRules: readonly Rule[] = [
  {
    id: 'link.down',
    title: 'declines while there is no link',
    docs: Docs.front,
    needs: ['transmit.sends'],
    check: async (lab) => {
      const vif = await lab.sending();
      vif.host.setLink(false);
      await vif.host.run(100);
      const verdict = vif.guest.transmit(lab.outward(vif, flow));
      lab.expect(verdict !== 'sent' && verdict !== 'busy', () => ({
        expected: 'frames are declined 100 ms after the link went down',
        seen: `one was answered ${verdict}`,
        todo: 'watch port.onLink in the back half or the device’s link event, and decline for `link-down`',
      }));
    },
  },
  {
    id: 'link.up',
    title: 'goes on when the link comes back',
    docs: Docs.front,
    needs: ['transmit.sends', 'link.down'],
    check: async (lab) => {
      const vif = await lab.sending();
      vif.host.setLink(false);
      await vif.host.run(100);
      vif.host.setLink(true);
      await vif.host.run(100);
      const given = [...vif.front.failures, ...vif.back.failures];
      lab.expect(given.length > 0 || (await lab.warm(vif)), () => ({
        expected: 'it sends again once the link is back, or asks to be attached anew',
        seen: 'it sends nothing',
        todo: 'look at the present state on each change; one that goes down and up is two changes',
      }));
    },
  },
  {
    id: 'reset.noticed',
    title: 'asks to be taken off when the NIC was reset, or goes on by itself',
    docs: Docs.back,
    needs: ['transmit.sends'],
    check: async (lab) => {
      const vif = await lab.sending();
      vif.host.reset();
      await vif.host.run(200);
      const said = vif.front.failures.length + vif.back.failures.length > 0;
      const sends = !said && (await lab.warm(vif)) && (await leaves(lab, vif));
      lab.expect(said || sends, () => ({
        expected: 'a half calls failed(): the host attaches the plugin again; or frames go on leaving',
        seen: 'neither; frames that it takes are lost',
        todo: 'call failed() from port.onReset in the back half: every queue and filter is gone',
      }));
    },
  },
  {
    id: 'quiesce.drains',
    title: 'lets the hardware finish in quiesce(): every frame that was sent completes',
    docs: Docs.front,
    needs: ['transmit.completes'],
    check: async (lab) => {
      const vif = await lab.sending();
      const { host, guest } = vif;
      host.bench.holdTransmit(true);
      for (let serial = 0; serial < 6; serial++)
        guest.transmit(lab.outward(vif, { ...flow, serial }), {}, true);
      const done = vif.device!.quiesce();
      await host.run(20);
      host.bench.holdTransmit(false);
      await host.within(done, Deadline.quiesceMs);
      while (guest.poll(64) === 64);
      const missing = guest.inFlight.size;
      lab.expect(missing === 0, () => ({
        expected: 'when quiesce() resolves, every frame is completed, or will be by one more poll',
        seen: `${missing} are still out`,
        todo: 'ring the doorbell for what waits, and resolve when the hardware has reported all of it',
      }));
    },
  },
  {
    id: 'quiesce.draws-nothing',
    title: 'draws no traffic any more once quiesce() resolved',
    docs: Docs.front,
    needs: ['life.attaches', 'receive.steers'],
    check: async (lab) => {
      if ((lab.can.receiveFilters ?? 0) === 0) return;
      const vif = await lab.receiving(flow);
      const { host } = vif;
      await host.within(vif.device!.quiesce(), Deadline.quiesceMs);
      const receiver = host.arrive(lab.inward(vif, { ...flow, serial: 1 }));
      lab.expect(receiver === 'driver', () => ({
        expected: 'a frame that arrives after quiesce() takes the slow path',
        seen: 'a filter still drew it; what arrives after the last poll is lost',
        todo: 'take every filter away in quiesce(), and wait until that is done',
      }));
    },
  },
  {
    id: 'remove.wire-quiet',
    title: 'puts nothing on the wire once it is removed',
    docs: Docs.front,
    needs: ['transmit.sends', 'life.dead-peer'],
    check: async (lab) => {
      const vif = await lab.sending();
      const { host, guest } = vif;
      await host.run(50);
      host.bench.holdTransmit(true);
      for (let serial = 0; serial < 4; serial++) guest.transmit(lab.outward(vif, { ...flow, serial }));
      await host.run(10);
      await vif.detach();
      host.bench.takeSent();
      host.bench.holdTransmit(false);
      await host.run(5000);
      const late = serials(host.bench.takeSent(), FLOW);
      lab.expect(late.length === 0, () => ({
        expected:
          'nothing leaves after remove(): netfront has taken back what was not completed, and sends it again',
        seen: `${late.length} frames left, the first: number ${late[0]}`,
        todo: 'end the transmit queue in remove(), before the memory that it reads is given back',
      }));
    },
  },
];
