// The frontend in each state that it can be in sees each state that a backend can show: the real driver ends where the
// table of the xenbus handshake says, gives back what it holds, and connects to a backend that comes back.
import {
  FRONTEND_REACTIONS,
  LINGER_MS,
  XENBUS_STATE_NAMES,
  XenbusState,
  frontendReaction,
  stateName,
  statesToWrite,
} from '@netaccel/xen';
import type { XenbusStateName } from '@netaccel/xen';
import { expect, test } from 'vitest';
import { CLEAN_END, NOTHING_HELD, VifLab, pattern } from './lab.js';
import { MODERN_BACKEND } from './scripted-backend.js';

const S = XenbusState;
const OFFERS = { 'feature-xdp-headroom': '1' };

function restOf(own: XenbusStateName, other: XenbusStateName): XenbusStateName {
  let state = own;
  for (;;) {
    const reaction = FRONTEND_REACTIONS[frontendReaction(S[state], S[other])];
    const next = statesToWrite(S[state], reaction).at(-1);
    if (next === undefined) return state;
    state = next;
  }
}

/** Shows a state, and gives a frontend that lingers its time; Unknown is what is no state. */
async function show(lab: VifLab, state: XenbusStateName): Promise<void> {
  const value = state === 'Unknown' ? 'gone' : String(S[state]);
  await lab.run(lab.back.store.write(`${lab.backend.path}/state`, value));
  await lab.machine.settle(LINGER_MS + 1);
}

/** How each state is come by. */
const WAYS: Partial<Record<XenbusStateName, () => Promise<VifLab>>> = {
  Initialising: async () => {
    const lab = await VifLab.make({ offers: OFFERS });
    for (const [key, value] of Object.entries({ ...MODERN_BACKEND, ...OFFERS }))
      await lab.run(lab.backend.write(key, value));
    lab.front.start().catch(() => undefined);
    await lab.settle();
    return lab;
  },
  Connected: () => VifLab.connected({ offers: OFFERS }),
  Reconfiguring: async () => {
    const lab = await VifLab.connected({ offers: OFFERS, netfront: { closeTimeoutMs: 60_000 } });
    lab.backend.following = false;
    lab.front.setHeadroom(64).catch(() => undefined);
    await lab.settle();
    return lab;
  },
  Closed: async () => {
    const lab = await VifLab.connected({ offers: OFFERS });
    lab.backend.following = false;
    lab.backend.disconnect();
    await show(lab, 'Closing');
    return lab;
  },
};

test.each(Object.entries(WAYS))('a frontend in %s', async (own, way) => {
  for (const other of XENBUS_STATE_NAMES) {
    const lab = await way();
    lab.backend.following = false;
    const pair = `${own} sees ${other}`;
    expect(`${pair}: ${stateName(lab.front.state.frontend)}`).toBe(`${pair}: ${own}`);
    await show(lab, other);
    const rest = restOf(own as XenbusStateName, other);
    expect(`${pair}: ${stateName(lab.front.state.frontend)}`).toBe(`${pair}: ${rest}`);
    expect(await lab.key('state')).toBe(String(S[rest]));
    lab.backend.disconnect();
    if (rest === 'Closed' || rest === 'Initialising')
      expect({ pair, ...lab.guest.ledger(), watches: 0, timers: 0 }).toEqual({ pair, ...NOTHING_HELD });
    // Whatever it was, a backend that comes back is connected to.
    await show(lab, 'Closing');
    await show(lab, 'Closed');
    expect(`${pair}: ${stateName(lab.front.state.frontend)}`).toBe(`${pair}: Closed`);
    await lab.run(lab.backend.stop());
    lab.backend.following = true;
    await lab.run(lab.backend.start());
    await lab.machine.settle(LINGER_MS + 1);
    expect(`${pair}: ${lab.front.carrier}`).toBe(`${pair}: true`);
    lab.backend.answering = true;
    expect(lab.send(pattern(60))).toBe(true);
    await lab.settle();
    expect(`${pair}: ${lab.backend.taken.length}`).toBe(`${pair}: 1`);
    expect(await lab.end()).toEqual(CLEAN_END);
  }
});
