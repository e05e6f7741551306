// Runs each *.bench.mjs in this folder in a process of its own, so that no case inherits another's optimised
// code or heap. `npm run bench -- ring` runs those whose name contains "ring".
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const wanted = process.argv.slice(2);
const folder = new URL('.', import.meta.url);
const cases = readdirSync(folder)
  .filter((file) => file.endsWith('.bench.mjs'))
  .filter((file) => wanted.length === 0 || wanted.some((word) => file.includes(word)))
  .sort();

console.log(`Node ${process.version}, ${cases.length} benchmark(s)`);
for (const file of cases) {
  console.log(`\n${file}`);
  const result = spawnSync(process.execPath, [fileURLToPath(new URL(file, folder))], { stdio: 'inherit' });
  if (result.status !== 0) process.exitCode = 1;
}
