/** What the rules of receive share: the flow that they look at, and traffic from the wire. */
import type { Capabilities } from '../../capabilities.js';
import type { FrameSpec } from '../frames.js';
import type { Vif } from '../host/vif.js';
import { serials } from '../lab.js';
import type { Lab } from '../lab.js';
import type { Rule } from '../rule.js';

/** The flow that most rules of receive look at, and its port. */
export const FLOW = 0x91;
/** Its port. */
export const PORT = 8200;
/** Its frames. */
export const flow: FrameSpec = { flow: FLOW, targetPort: PORT };
/** Whether any flow comes fast. */
export const steers = (can: Capabilities): boolean => (can.receiveFilters ?? 0) > 0;

/** A rule about flows that come fast: it holds by itself for a plugin that has no filters. */
export function fast(rule: Rule): Rule {
  return {
    ...rule,
    needs: ['receive.steers', ...(rule.needs ?? [])],
    check: async (lab) => {
      if (steers(lab.can)) await rule.check(lab);
    },
  };
}

/** Frames of a flow from the wire, with pauses; serials `from` to `to` less one. */
export async function inbound(
  lab: Lab,
  vif: Vif,
  from: number,
  to: number,
  spec: FrameSpec = flow,
): Promise<void> {
  for (let serial = from; serial < to; serial++) {
    vif.host.arrive(lab.inward(vif, { ...spec, serial }));
    if (serial % 5 === 4) await vif.host.run(2);
  }
  await vif.host.run(20);
}

/** Numbers below `count` of the flow's frames that were not delivered. */
export function missingOf(vif: Vif, count: number): number[] {
  const got = new Set(serials(vif.guest.delivered, FLOW));
  return Array.from({ length: count }, (_, i) => i).filter((serial) => !got.has(serial));
}

/** Flows, each of a port, that came past the driver domain after having been seen often enough. */
export async function steered(lab: Lab, vif: Vif, specs: readonly FrameSpec[]): Promise<FrameSpec[]> {
  for (let round = 0; round < 12; round++)
    for (const spec of specs) {
      vif.host.arrive(lab.inward(vif, spec));
      await vif.host.run(10);
    }
  await vif.host.run(100);
  return specs.filter((spec) => vif.host.arrive(lab.inward(vif, spec)) === 'guest');
}
