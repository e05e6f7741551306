// `npm run simulate` and `npm run fuzz`: bundles a program of src from the sources of all packages and runs it. With
// `--planted`, once for each planted fault.
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { bundle } from './bundle.mjs';
import { huntAll } from './planted.mjs';

const [program = 'simulate', ...rest] = process.argv.slice(2);
if (program === 'simulate' && rest.includes('--planted') && !rest.includes('--help'))
  process.exit((await huntAll(rest)) ? 0 : 1);
const folder = fileURLToPath(new URL('dist/', import.meta.url));
mkdirSync(folder, { recursive: true });
const file = join(folder, `${program}.mjs`);
// Put in place in one piece: of two runs that begin at once neither finds half a program, which would check nothing.
const fresh = `${file}.${process.pid}`;
writeFileSync(fresh, await bundle(program));
renameSync(fresh, file);
process.setSourceMapsEnabled(true);
process.argv = [process.argv[0] ?? 'node', file, ...(rest.includes('--help') ? ['--help'] : rest)];
await import(pathToFileURL(file).href);
