// Bundles a program of this folder from the sources of all packages, so that a run needs no build, and so that a fault
// can be planted in a copy of a source and never in the tree. Used by run.mjs and by the tests.
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const here = dirname(fileURLToPath(import.meta.url));
const packages = join(here, '../packages');

/**
 * The source of a public entry of a package of ours.
 * @param {string} specifier `@netaccel/xen/sim`
 */
function sourceOf(specifier) {
  const [, name = '', ...rest] = specifier.split('/');
  const manifest = JSON.parse(readFileSync(join(packages, name, 'package.json'), 'utf8'));
  const entry = manifest.exports[['.', ...rest].join('/')]?.default;
  if (typeof entry !== 'string') throw new Error(`${specifier} is not a public entry of a package of ours`);
  return join(packages, name, entry.replace('./dist/', 'src/').replace(/\.js$/, '.ts'));
}

/**
 * @param {string} entry a file of src, without its extension
 * @param {readonly { readonly file: string, readonly find: string, readonly replace: string }[]} edits what is planted:
 * `file` is relative to the root of the repository, `find` must occur in it exactly once
 * @returns {Promise<string>} the program
 */
export async function bundle(entry, edits = []) {
  const left = new Set(edits);
  const result = await build({
    entryPoints: [join(here, 'src', `${entry}.ts`)],
    bundle: true,
    write: false,
    format: 'esm',
    platform: 'node',
    target: 'node20.19',
    sourcemap: 'inline',
    logLevel: 'warning',
    plugins: [
      {
        name: 'sources',
        setup({ onResolve, onLoad }) {
          onResolve({ filter: /^@netaccel\// }, ({ path }) => ({ path: sourceOf(path) }));
          // What only the command needs stays outside: a simulation never gets there.
          onResolve({ filter: /^[a-z@]/ }, ({ path, kind }) =>
            kind === 'entry-point' ? undefined : { path, external: true },
          );
          onLoad({ filter: /\.ts$/ }, ({ path }) => {
            let contents = readFileSync(path, 'utf8');
            for (const edit of edits) {
              if (path !== join(here, '..', edit.file)) continue;
              if (contents.split(edit.find).length !== 2)
                throw new Error(
                  `${edit.file}: expected once, seen ${contents.split(edit.find).length - 1} times: ${edit.find}`,
                );
              contents = contents.replace(edit.find, () => edit.replace);
              left.delete(edit);
            }
            return { contents, loader: 'ts' };
          });
        },
      },
    ],
  });
  for (const { file } of left) throw new Error(`${file} is not part of ${entry}`);
  return result.outputFiles[0]?.text ?? '';
}
