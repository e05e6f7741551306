// `npm run bench`: the cases of `netaccel bench`, each in a process of its own. Arguments go through:
// `npm run bench -- wire- --repeat 9 --json`.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const cli = fileURLToPath(new URL('../packages/host/dist/cli.js', import.meta.url));
const { status } = spawnSync(process.execPath, [cli, 'bench', ...process.argv.slice(2)], {
  stdio: 'inherit',
});
process.exitCode = status ?? 1;
