// Assembles src/sim/kernels.wat and writes its bytes to src/sim/kernels.ts; with --check only compares.
import { readFileSync, writeFileSync } from 'node:fs';
import wabtModule from 'wabt';

const source = new URL('../src/sim/kernels.wat', import.meta.url);
const target = new URL('../src/sim/kernels.ts', import.meta.url);

const features = { threads: true };
const wabt = await wabtModule();
const module = wabt.parseWat('kernels.wat', readFileSync(source, 'utf8'), features);
module.resolveNames();
module.validate(features);
const { buffer } = module.toBinary({});
const lines = [...buffer].reduce((rows, byte, i) => {
  if (i % 22 === 0) rows.push([]);
  rows.at(-1).push(byte);
  return rows;
}, /** @type {number[][]} */ ([]));

const text = `/**
 * Bytes of kernels.wat, assembled by scripts/kernels.mjs (\`npm run kernels\`): never edited by hand.
 */

/** The kernels as a WebAssembly module: imports \`lab.memory\` (shared), exports \`copy\`, \`fill\`, \`same\` and \`sum\`. */
// prettier-ignore
export const kernelBytes: Uint8Array<ArrayBuffer> = new Uint8Array([
${lines.map((row) => `  ${row.join(', ')},`).join('\n')}
]);
`;

if (!process.argv.includes('--check')) writeFileSync(target, text);
else if (readFileSync(target, 'utf8') !== text) {
  console.error(
    'kernels.ts is not what kernels.wat assembles to; run `npm run kernels --workspace @netaccel/xen`',
  );
  process.exitCode = 1;
}
