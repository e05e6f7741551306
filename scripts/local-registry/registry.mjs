// An npm registry on loopback, with the packages of this project and nothing else: no uplink, no web page, no users.
// Verdaccio is installed here and not in the workspace, so that only who runs scripts/check-install.mjs has it. Its
// audit plugin asks for node-fetch by a dist-tag ("cjs") that not every registry carries: package.json names a version.
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { run } from '../run.mjs';

const HERE = fileURLToPath(new URL('.', import.meta.url));
/** The scopes that it serves. */
export const SCOPES = ['@netaccel', '@netaccel-examples'];

/** @typedef {{ url: string, close: () => Promise<void> }} Registry */

/** Installs verdaccio where it is not yet. */
export async function installRegistry() {
  if (existsSync(join(HERE, 'node_modules/.package-lock.json'))) return;
  await run('npm', ['ci', '--ignore-scripts', '--prefer-offline', '--no-audit', '--no-fund'], { cwd: HERE });
}

/**
 * Starts it on a free port.
 * @param {string} folder where it keeps its packages
 * @returns {Promise<Registry>}
 */
export async function startRegistry(folder) {
  const everybody = { access: '$all', publish: '$all', unpublish: '$all' };
  const config = {
    configPath: join(folder, 'config.yaml'), // what it would be: other paths count from there
    storage: join(folder, 'storage'),
    uplinks: {},
    auth: {},
    packages: {
      ...Object.fromEntries(SCOPES.map((scope) => [`${scope}/*`, everybody])),
      '**': { access: 'nobody' },
    },
    web: { enable: false },
    max_body_size: '50mb',
    log: { type: 'stdout', format: 'json', level: 'fatal' },
  };
  const require = createRequire(import.meta.url);
  const { runServer } =
    /** @type {{ runServer: (config: object) => Promise<import('node:http').Server> }} */ (
      require('verdaccio')
    );
  const server = await runServer(config);
  await new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => resolve(undefined));
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the registry has no port');
  return {
    url: `http://127.0.0.1:${address.port}/`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve(undefined));
        server.closeAllConnections();
      }),
  };
}
