/** Order on receive: a flow changes its path, either way, while frames of it wait on the other. */
import { Docs } from '../docs.js';
import { Deadline } from '../host/vif.js';
import type { Vif } from '../host/vif.js';
import { serials } from '../lab.js';
import type { Lab } from '../lab.js';
import type { Rule } from '../rule.js';
import { FLOW, fast, flow, inbound } from './inbound.js';

/** How long a filter is idle before another flow may surely have its place. */
const IDLE_MS = 5000;
const other = { flow: 0x9a, targetPort: 8250 };

/** The flow was delivered in order. */
function inOrder(lab: Lab, vif: Vif, expected: string, todo: string): void {
  const got = serials(vif.guest.delivered, FLOW);
  const wrong = got.findIndex((serial, i) => i > 0 && serial < got[i - 1]!);
  lab.expect(wrong < 0, () => ({
    expected,
    seen: `number ${got[wrong]} was delivered after number ${got[wrong - 1]}`,
    todo,
  }));
}

const FENCE =
  'after adding a filter wait for port.received(), then fence(); hold its frames until passed(fence)';

/** The quota is used up by another flow, which is idle by then; null when the plugin never gives its filter away. */
async function pushedOut(lab: Lab): Promise<Vif | null> {
  const vif = await lab.attached({ limits: { maxFilters: 1 } });
  if (!(await lab.steer(vif, flow))) return null;
  await vif.host.run(IDLE_MS);
  if (!(await lab.steer(vif, other))) return null;
  await vif.host.run(IDLE_MS);
  vif.guest.delivered.length = 0;
  return vif;
}

export const orderRules: readonly Rule[] = [
  fast({
    id: 'receive.order',
    title: 'delivers a flow in order while it becomes fast, behind its fence, however late the slow path is',
    docs: Docs.order,
    check: async (lab) => {
      for (const how of ['slow path', 'driver domain'] as const) {
        const vif = await lab.attached();
        const { host, guest } = vif;
        for (let serial = 0; serial < 60; serial++) {
          // Frames wait on the way through the driver domain, while later ones come past it.
          if (serial === 1) {
            if (how === 'slow path') guest.slowHeld = true;
            else host.port.delayed = true;
          }
          if (serial === 20) host.port.handleAll(10);
          if (serial === 50) host.port.handleAll();
          host.arrive(lab.inward(vif, { ...flow, serial }));
          await host.run(3);
        }
        guest.slowHeld = host.port.delayed = false;
        host.port.handleAll();
        await host.run(300);
        inOrder(lab, vif, `frames that wait in the ${how} are delivered before the first fast one`, FENCE);
      }
    },
  }),
  fast({
    id: 'receive.order-back',
    title: 'delivers a flow in order while it becomes slow: what its queue has goes before what comes after',
    docs: Docs.order,
    needs: ['receive.order'],
    check: async (lab) => {
      const vif = await lab.receiving(flow);
      const { host, guest } = vif;
      await host.run(50);
      guest.delivered.length = 0;
      guest.polling = false; // netfront is late: ten frames wait in the plugin's queue
      await inbound(lab, vif, 0, 10);
      const ending = vif.device!.quiesce();
      await host.run(30);
      await inbound(lab, vif, 10, 20);
      guest.polling = true;
      guest.services.schedulePoll();
      await host.within(ending, Deadline.quiesceMs);
      await inbound(lab, vif, 20, 30);
      inOrder(
        lab,
        vif,
        'frames that were in the queue when the filter went are delivered before later ones of the slow path',
        'deliver all that the queue has from each poll, in order, also while quiesce() is under way',
      );
    },
  }),
  fast({
    id: 'receive.order-again',
    title: (can) =>
      can.receivesAll === true
        ? 'moves no flow between the paths while it is attached: one filter has them all'
        : 'delivers a flow in order when it lost its filter to another and gets one again, with the slow path late',
    docs: Docs.order,
    needs: ['receive.order', 'receive.eviction'],
    check: async (lab) => {
      if (lab.can.receivesAll === true) return staysFast(lab);
      for (const how of ['slow path', 'driver domain'] as const) {
        const vif = await pushedOut(lab);
        if (vif === null) return;
        const { host, guest } = vif;
        for (let serial = 0; serial < 80; serial++) {
          // The first frames show that it is there again; those after them are still on their way when it is fast.
          if (serial === 1) {
            if (how === 'slow path') guest.slowHeld = true;
            else host.port.delayed = true;
          }
          if (serial >= 30) host.port.handleAll(5);
          if (serial === 60) guest.slowHeld = false;
          host.arrive(lab.inward(vif, { ...flow, serial }));
          await host.run(3);
        }
        guest.slowHeld = host.port.delayed = false;
        host.port.handleAll();
        await host.run(300);
        inOrder(
          lab,
          vif,
          `frames of its slow time that wait in the ${how} are delivered before the first of its new filter`,
          FENCE,
        );
      }
    },
  }),
];

async function staysFast(lab: Lab): Promise<void> {
  const vif = await lab.receiving(flow);
  const { host } = vif;
  let slow = 0;
  for (let round = 0; round < 20; round++) {
    if (host.arrive(lab.inward(vif, { ...flow, serial: round })) !== 'guest') slow++;
    for (let i = 0; i < 12; i++) host.arrive(lab.inward(vif, { ...other, targetPort: 8250 + i }));
    await host.run(round === 10 ? IDLE_MS : 20);
  }
  lab.expect(slow === 0, () => ({
    expected: 'a flow that came past the driver domain goes on to, since `receivesAll` is declared',
    seen: `${slow} of 20 frames took the slow path, while 12 other flows came and it was idle for a while`,
    todo: 'keep the filter on the guest’s address until quiesce(); or leave `receivesAll` out',
  }));
}
