/**
 * Loads accelerator plugins by npm name or path: `import()`, then every check before the plugin is let near a
 * device. Called by the command and by the registries' load on demand.
 */
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { checkContract } from '@netaccel/core-hooks';
import type {
  AcceleratorRegistry,
  BackendAcceleratorDefinition,
  Capabilities,
  FrontendAcceleratorDefinition,
  OptionValues,
} from '@netaccel/core-hooks';

import { installedPlugins } from './lab/installed.js';
import { nearestName } from './lab/nearest.js';
import { schemaProblem } from './plugin-options.js';
import type { ConfiguredBackend } from './plugin-options.js';

/** A plugin could not be loaded. */
export class PluginLoadError extends Error {
  /**
   * @param code `UNRESOLVED` no such package or file; `FAILED` its module threw; `NO_DEFAULT` no default
   * export; `WRONG_KIND` not a plugin, or one for the other half; `BAD_SCHEMA` its options cannot be judged.
   * @param message what was expected, what was seen, what to do.
   */
  constructor(
    readonly code: 'UNRESOLVED' | 'FAILED' | 'NO_DEFAULT' | 'WRONG_KIND' | 'BAD_SCHEMA',
    message: string,
  ) {
    super(message);
    this.name = 'PluginLoadError';
  }
}

/** Either half's definition. */
export type AcceleratorDefinition = FrontendAcceleratorDefinition | BackendAcceleratorDefinition;

/**
 * The URL of a plugin's module.
 * @param name an npm name, or a path that begins with `.` or `/`.
 * @param from folder that names and paths are resolved from.
 * @throws PluginLoadError `UNRESOLVED`.
 */
export function resolvePlugin(name: string, from: string = process.cwd()): string {
  for (const require of [createRequire(resolve(from, 'plugin.js')), createRequire(import.meta.url)]) {
    const file = resolveModule(require, name);
    if (file !== null) return pathToFileURL(file).href;
  }
  const isPath = /^[./]/.test(name);
  const meant = isPath ? null : nearestName(name, installedPlugins(from));
  throw new PluginLoadError(
    'UNRESOLVED',
    `no plugin ${name} was found from ${from}; ` +
      (meant === null ? '' : `did you mean ${meant}? If not, `) +
      (isPath ? `is the path right?` : `run "npm install ${name}" there, or give a path that begins with ./`),
  );
}

/** The file of a module, also of a package that only `import` finds; null when there is none. */
function resolveModule(require: NodeJS.Require, name: string): string | null {
  try {
    return require.resolve(name);
  } catch {
    // A package whose exports have no entry for require() is looked for by hand: an ESM-only package is usual here.
  }
  for (const folder of require.resolve.paths(name) ?? []) {
    const root = join(folder, name);
    const manifest = join(root, 'package.json');
    if (!existsSync(manifest)) continue;
    const entry = importEntry((JSON.parse(readFileSync(manifest, 'utf8')) as { exports?: unknown }).exports);
    if (entry !== null) return join(root, entry);
  }
  return null;
}

/** What a package's `exports` gives to an `import` of its name. */
function importEntry(exports: unknown): string | null {
  if (typeof exports === 'string') return exports;
  if (typeof exports !== 'object' || exports === null) return null;
  const table = exports as Record<string, unknown>;
  for (const key of ['.', 'node', 'import', 'default']) {
    const entry = key in table ? importEntry(table[key]) : null;
    if (entry !== null) return entry;
  }
  return null;
}

/**
 * Loads one half of a plugin.
 * @param name an npm name or a path.
 * @param kind which half is wanted.
 * @param from folder that names and paths are resolved from.
 * @throws PluginLoadError, ContractMismatchError
 */
export async function loadPlugin<K extends AcceleratorDefinition['kind']>(
  name: string,
  kind: K,
  from?: string,
): Promise<Extract<AcceleratorDefinition, { kind: K }>> {
  const url = resolvePlugin(name, from);
  let module: { default?: unknown };
  try {
    module = (await import(url)) as { default?: unknown };
  } catch (error) {
    throw new PluginLoadError(
      'FAILED',
      `${name} threw while it was loaded: ${String(error)}; nothing was attached`,
    );
  }
  const definition = module.default as Partial<AcceleratorDefinition> | undefined;
  if (definition === undefined || definition === null)
    throw new PluginLoadError(
      'NO_DEFAULT',
      `${name} has no default export; expected what define${kind === 'frontend' ? 'Frontend' : 'Backend'}Accelerator() returns`,
    );
  const entry = kind === 'frontend' ? 'newDevice' : 'probe';
  if (
    definition.kind !== kind ||
    typeof definition.name !== 'string' ||
    typeof (definition as Record<string, unknown>)[entry] !== 'function'
  )
    throw new PluginLoadError(
      'WRONG_KIND',
      `${name} exports ${definition.kind === undefined ? 'something else' : `a ${definition.kind} plugin`} by default; ` +
        `expected a ${kind} plugin with ${entry}()`,
    );
  checkContract(definition.name, definition.contract);
  const wrong = definition.kind === 'backend' ? schemaProblem(definition.options) : null;
  if (wrong !== null)
    throw new PluginLoadError(
      'BAD_SCHEMA',
      `${name} declares options that cannot be judged: ${wrong}; expected an OptionsSchema of @netaccel/core-hooks`,
    );
  return definition as Extract<AcceleratorDefinition, { kind: K }>;
}

/** A registered plugin, as plain data. */
export interface PluginDescription {
  readonly name: string;
  readonly version: string;
  readonly contract: number;
  readonly capabilities: Capabilities;
  /** Options as they are set; none for a frontend plugin. */
  readonly options: OptionValues;
}

/** The plugins that are registered, oldest first. */
export function describePlugins<D extends AcceleratorDefinition>(
  registry: AcceleratorRegistry<D>,
): PluginDescription[] {
  return registry.all().map((definition) => {
    const { name, version, contract, capabilities } = definition;
    const options = 'configured' in definition ? (definition as Partial<ConfiguredBackend>).configured! : {};
    return { name, version, contract, capabilities, options };
  });
}
