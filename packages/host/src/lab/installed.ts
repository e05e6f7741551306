/**
 * Which accelerator plugins are installed within reach of a folder: what a name that was not found is compared
 * with. Looks at names of folders only; nothing is loaded.
 */
import { readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Part of the name, without its scope, that plugins have in common. */
const PLUGIN_NAME = /accel/;

/** npm names in `node_modules` of `from`, of the folders around it, and of those around this package. */
export function installedPlugins(from: string): readonly string[] {
  const names = new Set<string>();
  for (const start of [from, dirname(fileURLToPath(import.meta.url))]) {
    for (let folder = start; ; folder = dirname(folder)) {
      collect(join(folder, 'node_modules'), '', names);
      if (dirname(folder) === folder) break;
    }
  }
  return [...names];
}

function collect(folder: string, scope: string, names: Set<string>): void {
  let entries: string[];
  try {
    entries = readdirSync(folder);
  } catch {
    return; // no such folder, or none that may be read
  }
  for (const entry of entries) {
    const name = scope + entry;
    if (scope === '' && entry.startsWith('@')) collect(join(folder, entry), `${entry}/`, names);
    else if (PLUGIN_NAME.test(entry)) names.add(name);
  }
}
