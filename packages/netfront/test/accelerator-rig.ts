/** A vif with a registry of accelerators, a scripted plugin to put into it, and the backend half that names it. */
import { expect } from 'vitest';
import { AcceleratorRegistry } from '@netaccel/core-hooks';
import type { FrontendAcceleratorDefinition } from '@netaccel/core-hooks';
import { CLEAN_END, VifLab } from './lab.js';
import type { VifOptions } from './lab.js';
import { BackendHalf, ScriptedPlugin } from './scripted-plugin.js';

export interface Rig {
  readonly lab: VifLab;
  readonly registry: AcceleratorRegistry<FrontendAcceleratorDefinition>;
  readonly plugin: ScriptedPlugin;
  readonly half: BackendHalf;
}

/** A connected vif; the plugin is not in the registry yet, and not offered. */
export async function rig(options: VifOptions = {}, loader?: (name: string) => Promise<void>): Promise<Rig> {
  const registry = new AcceleratorRegistry<FrontendAcceleratorDefinition>(loader);
  const lab = await VifLab.connected({ ...options, netfront: { registry, ...options.netfront } });
  return { lab, registry, plugin: new ScriptedPlugin(), half: new BackendHalf(lab) };
}

/** A rig with the plugin live. */
export async function live(options: VifOptions = {}): Promise<Rig> {
  const made = await rig(options);
  made.registry.register(made.plugin.definition);
  await made.lab.run(made.half.offer());
  await made.lab.settle();
  expect(made.lab.front.state.accelerator).toBe('live');
  return made;
}

/** Stops both sides: nothing is left of either. */
export async function end({ lab, half }: Rig): Promise<void> {
  lab.backend.answering = true;
  const waiting = lab.backend.queues[0]?.take() ?? [];
  if (waiting.length > 0) lab.backend.queue.answer(waiting);
  await lab.settle();
  await lab.run(lab.front.stop());
  await lab.run(half.stop());
  expect(await lab.end()).toEqual(CLEAN_END);
}

/** Why the device has no plugin. */
export const reason = (lab: VifLab): string | null => lab.front.state.reason;
