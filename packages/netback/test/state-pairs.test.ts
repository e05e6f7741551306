// The backend in each state that it can be in sees each state that a frontend can show: the real driver ends where the
// table of the xenbus handshake says, gives back what it holds, and serves a frontend that starts over.
import {
  BACKEND_REACTIONS,
  XENBUS_STATE_NAMES,
  XenbusState,
  backendReaction,
  stateName,
  statesToWrite,
} from '@netaccel/xen';
import type { XenbusStateName } from '@netaccel/xen';
import { expect, test } from 'vitest';
import { CLEAN_END, VifLab, pattern } from './lab.js';

const S = XenbusState;

/** Where the table leads from `own` when the other half stays in `other`. */
function restOf(own: XenbusStateName, other: XenbusStateName): XenbusStateName {
  let state = own;
  for (;;) {
    const reaction = BACKEND_REACTIONS[backendReaction(S[state], S[other])];
    const next = statesToWrite(S[state], reaction).at(-1);
    if (next === undefined) return state;
    state = next;
  }
}

/** Shows a state, whatever it is; Unknown is what is no state. */
async function show(lab: VifLab, state: XenbusStateName): Promise<void> {
  const value = state === 'Unknown' ? 'gone' : String(S[state]);
  await lab.run(lab.guest.store.write(`${lab.frontend.path}/state`, value));
  await lab.settle();
}

/** How each state is come by. */
const WAYS: Partial<Record<XenbusStateName, readonly XenbusStateName[]>> = {
  InitWait: [],
  Connected: ['Connected'],
  Closing: ['Connected', 'Closing'],
  Closed: ['Connected', 'Closing', 'Closed'],
  Reconfigured: ['Connected', 'Reconfiguring'],
};

async function make(way: readonly XenbusStateName[]): Promise<VifLab> {
  const lab = await VifLab.make();
  await lab.run(lab.netback.start());
  lab.frontend.open();
  for (const [key, value] of Object.entries(lab.frontend.keys()))
    await lab.run(lab.guest.store.write(`${lab.frontend.path}/${key}`, value!));
  for (const state of way) await show(lab, state);
  return lab;
}

test.each(Object.entries(WAYS))('a backend in %s', async (own, way) => {
  for (const other of XENBUS_STATE_NAMES) {
    const lab = await make(way);
    const pair = `${own} sees ${other}`;
    expect(`${pair}: ${stateName(await lab.backState())}`).toBe(`${pair}: ${own}`);
    await show(lab, other);
    const rest = restOf(own as XenbusStateName, other);
    expect(`${pair}: ${stateName(await lab.backState())}`).toBe(`${pair}: ${rest}`);
    // What it does not serve it does not hold.
    const serves = rest === 'Connected' || rest === 'Reconfigured';
    expect(`${pair}: ${lab.back.ledger().mappings}`).toBe(`${pair}: ${serves ? 2 : 0}`);
    // Whatever it was, a frontend that starts over is served.
    await show(lab, 'Closed');
    expect(lab.frontend.release()).toBe(true);
    await show(lab, 'Initialising');
    await lab.run(lab.frontend.connect());
    await lab.settle();
    lab.frontend.queue.packet(pattern(60));
    lab.frontend.queue.publish();
    await lab.settle();
    expect(`${pair}: ${lab.frontend.queue.responses().length}`).toBe(`${pair}: 1`);
    expect(await lab.end()).toEqual(CLEAN_END);
  }
});
