/**
 * Which accelerator plugins are installed within reach of a folder: what a name that was not found is compared
 * with. Looks at names and manifests; nothing is loaded.
 */
import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** A plugin has this among its keywords, or wants whoever runs it to bring this. */
const PLUGIN_KEYWORD = 'netaccel-plugin';
const CONTRACT = '@netaccel/core-hooks';

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
    else if (isPlugin(join(folder, entry))) names.add(name);
  }
}

/** Judged as a stranger's: a manifest may be anything. */
function isPlugin(folder: string): boolean {
  try {
    const manifest: unknown = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
    if (typeof manifest !== 'object' || manifest === null) return false;
    const { keywords, peerDependencies } = manifest as Readonly<Record<string, unknown>>;
    if (Array.isArray(keywords) && keywords.includes(PLUGIN_KEYWORD)) return true;
    return typeof peerDependencies === 'object' && peerDependencies !== null && CONTRACT in peerDependencies;
  } catch {
    return false;
  }
}
