/** The ledger: what a plugin took while it was attached and carried traffic is given back when it is removed. */
import { Docs } from '../docs.js';
import type { HeldKind } from '../host/half.js';
import type { Lab } from '../lab.js';
import type { Rule } from '../rule.js';
import { inWords } from './life.js';

/** Kinds of things, what they are called, and how they are given back. */
const KINDS: readonly (readonly [kind: HeldKind | 'device' | 'frames', what: string, todo: string])[] = [
  ['grants', 'shared pages', 'call release() of each SharedPages in remove()'],
  ['mappings', 'mapped pages and registers', 'call unmap() of each MappedPages and Registers in remove()'],
  ['channels', 'event channels', 'call close() of each end in remove()'],
  ['timers', 'timers', 'cancel each timer that clock.after() gave, in remove()'],
  ['watches', 'watches of the store', 'call what watchPeer() resolved to, in remove()'],
  [
    'subscriptions',
    'handlers on the NIC port',
    'call what onReceive, onTransmit, onLink and onReset answered',
  ],
  ['device', 'things of the device', 'end filters first, then queues, then what they were made of'],
  [
    'frames',
    "netfront's frames",
    'release each frame as often as it was held; the ones never completed as well',
  ],
];

export const ledgerRules: readonly Rule[] = KINDS.map(([kind, what, todo]) => ({
  id: `ledger.${kind}`,
  title: `gives back all ${what} when it is removed`,
  docs: Docs.front,
  needs: ['life.attaches'],
  check: async (lab: Lab) => {
    const vif = await lab.attached();
    const { host, guest } = vif;
    await lab.warm(vif);
    await lab.steer(vif, { flow: 5, targetPort: 8100 }, 8);
    host.bench.holdTransmit(true);
    for (let i = 0; i < 6; i++) guest.transmit(lab.outward(vif, { flow: 6, serial: i }));
    guest.slowHeld = true;
    host.arrive(lab.inward(vif, { flow: 7, targetPort: 8101 }));
    await host.run(30);
    guest.slowHeld = false;
    host.bench.holdTransmit(false);
    await vif.detach();
    await host.run(10);
    const left = host.left().filter((each) => each.kind === kind);
    lab.expect(left.length === 0, () => ({
      expected: `no ${what} are left after remove()`,
      seen: inWords(left),
      todo,
    }));
  },
}));
