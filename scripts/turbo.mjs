// Runs turbo with the Node version in its cache key: turbo does not hash it, so a second Node in the same
// checkout would otherwise be answered from the first one's cache.
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';

const turbo = createRequire(import.meta.url).resolve('turbo/bin/turbo');
const result = spawnSync(process.execPath, [turbo, ...process.argv.slice(2)], {
  stdio: 'inherit',
  env: { TURBO_TELEMETRY_DISABLED: '1', ...process.env, NETACCEL_NODE_VERSION: process.version },
});
if (result.error) throw result.error;
process.exitCode = result.status ?? 1;
