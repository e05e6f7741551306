// Shows that `npm install` of the individual packages works, as strangers use them: every public package is published
// to a registry on loopback (scripts/local-registry), and from there on nothing of this tree is used but the example's
// sources. `--keep` leaves the folder, to look at. Needs the built packages, and npm's registry for all other packages.
import { cp, mkdir, mkdtemp, readFile, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { demoProblems } from './check-demo.mjs';
import { captureOf } from './check-install/capture.mjs';
import { lockProblems, publishedPackages } from './check-install/published.mjs';
import { SCOPES, installRegistry, startRegistry } from './local-registry/registry.mjs';
import { run, start, stopAll } from './run.mjs';

/** @typedef {import('./local-registry/registry.mjs').Registry} Registry */
/** @typedef {import('./check-install/published.mjs').Published} Published */

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const EXAMPLE = '@netaccel-examples/flow-meter';
/** Frames that the fast path has to carry each way. */
const ENOUGH_FRAMES = 100;
const LAB_MS = 30_000;
const LOOK_MS = 100;

/** The lab: a guest on each of two hosts, who send each other what is in a capture file, again and again. */
const GUESTS = [
  { host: 'alpha', name: 'a', mac: '02:00:00:00:00:0a', ip: '10.77.0.11' },
  { host: 'beta', name: 'b', mac: '02:00:00:00:00:0b', ip: '10.77.0.12' },
];
const LAB = `lab: 1
name: installed
hosts:
${GUESTS.map(
  ({ host, name, mac }) => `  ${host}:
    accelerator: '${EXAMPLE}'
    guests: { ${name}: { mac: '${mac}', accel: eth0, port: { pcap: ${name}.pcap, loop: true } } }`,
).join('\n')}
wires: [{ between: [alpha.eth0, beta.eth0] }]
`;

/** npm as a user has it: the settings of this tree reach its children by the environment. */
const env = { npm_config_omit_lockfile_registry_resolved: 'false', NO_COLOR: '1' };
const ERRORS = ['--loglevel=error'];
const QUIET = ['--no-audit', '--no-fund', '--prefer-offline', ...ERRORS];

/** One run of the check, in a folder of its own. */
class Check {
  /** @param {string} folder @param {Registry} registry */
  constructor(folder, registry) {
    this.folder = folder;
    this.registry = registry;
    /** Of who runs labs. */
    this.lab = join(folder, 'lab');
    /** @type {Published} */
    this.published = new Map();
  }

  /** @param {string[]} args @param {string} cwd @param {NodeJS.ProcessEnv} [more] */
  npm(args, cwd, more = {}) {
    return run('npm', args, { cwd, env: { ...env, ...more } });
  }

  /** What names the registry for our scopes: the rest of the world comes from where npm has it from. */
  settings() {
    const { url } = this.registry;
    return [
      ...SCOPES.map((scope) => `${scope}:registry=${url}`),
      `${url.slice('http:'.length)}:_authToken=none`,
    ];
  }

  /** An empty folder that knows the registry. @param {string} name */
  async empty(name) {
    const folder = join(this.folder, name);
    await mkdir(folder);
    await writeFile(join(folder, '.npmrc'), `${this.settings().join('\n')}\n`);
    return folder;
  }

  /** Every public package of the workspace. */
  async publish() {
    const settings = this.settings().map((setting) => `--${setting}`);
    const names = await publicPackages();
    const these = names.map((name) => `--workspace=${name}`);
    await this.npm(
      ['publish', ...these, '--ignore-scripts', '--provenance=false', ...settings, ...ERRORS],
      ROOT,
    );
    this.published = await publishedPackages(this.registry.url, names);
    return `${names.length} packages, ${names.map((name) => name.split('/')[1]).join(', ')}`;
  }

  /** Where the packages of an installed folder came from. @param {string} folder @param {string[]} wanted */
  async provenance(folder, wanted) {
    /** @type {unknown} */
    const lock = JSON.parse(await readFile(join(folder, 'package-lock.json'), 'utf8'));
    const problems = lockProblems(lock, this.registry.url, this.published, wanted);
    if (problems.length > 0) throw new Error(problems.join('\n'));
    return `${wanted.join(', ')} came from the local registry, byte for byte`;
  }

  /** The example: installed, built, tested in a folder of its own, and published. */
  async example() {
    const folder = await this.empty('flow-meter');
    const mine = new Set(['node_modules', 'dist', 'package-lock.json']);
    for (const entry of await readdir(join(ROOT, 'examples/flow-meter')))
      if (!mine.has(entry))
        await cp(join(ROOT, 'examples/flow-meter', entry), join(folder, entry), { recursive: true });
    await this.npm(['install', ...QUIET], folder);
    const from = await this.provenance(folder, ['@netaccel/core-hooks', '@netaccel/nic-vi']);
    await this.npm(['test'], folder);
    await this.npm(['publish', ...ERRORS], folder);
    for (const [name, versions] of await publishedPackages(this.registry.url, [EXAMPLE]))
      this.published.set(name, versions);
    return `${EXAMPLE}: built, its tests pass, published; ${from}`;
  }

  /** A folder of somebody who runs labs. */
  async install() {
    const folder = await this.empty('lab');
    await this.npm(['install', ...QUIET, '@netaccel/host', EXAMPLE], folder);
    return this.provenance(folder, ['@netaccel/host', '@netaccel/core-hooks', '@netaccel/nic-vi', EXAMPLE]);
  }

  /** @param {string[]} args @param {string} [cwd] */
  netaccel(args, cwd = this.lab) {
    return run(this.command(), args, { cwd, env: this.labEnv() });
  }
  command() {
    return join(this.lab, 'node_modules/.bin/netaccel');
  }
  labEnv() {
    return { ...env, NETACCEL_CONTROL_DIR: join(this.folder, 'control') };
  }

  /** The kit, on the folder of the example's author, and by name on what was installed. */
  async conform() {
    const said = [];
    for (const [what, cwd] of /** @type {const} */ ([
      ['.', join(this.folder, 'flow-meter')],
      [EXAMPLE, this.lab],
    ]))
      said.push(conformance(JSON.parse(await this.netaccel(['conform', what, '--json'], cwd)), what));
    return said.join('; ');
  }

  /** A lab whose file names the plugin: frames go the fast way, both ways. */
  async run() {
    const folder = this.lab;
    await writeFile(join(folder, 'lab.yaml'), LAB);
    for (const [i, guest] of GUESTS.entries())
      await writeFile(join(folder, `${guest.name}.pcap`), captureOf(guest, GUESTS[1 - i] ?? guest));
    const lab = start(this.command(), ['up', 'lab.yaml', '--json'], { cwd: folder, env: this.labEnv() });
    const end = performance.now() + LAB_MS;
    for (;;) {
      if (lab.child.exitCode !== null || performance.now() > end)
        throw new Error(`the lab did not come up, or carries nothing fast; it said:\n${lab.output()}`);
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
      if (!lab.stdout().includes('"netaccel.lab/1"')) continue;
      const { hosts } = JSON.parse(await this.netaccel(['ls', '--json', '--no-rates']));
      const fast = fastFrames(hosts);
      if (fast.length !== GUESTS.length || fast.some((frames) => frames < ENOUGH_FRAMES)) continue;
      const { guest, whySlow } = JSON.parse(await this.netaccel(['explain', 'a', '--json']));
      if (whySlow !== null) throw new Error(`guest a is slow: ${JSON.stringify(whySlow)}`);
      const { backend, frontend } = guest.acceleration;
      lab.child.kill('SIGINT');
      const status = await lab.ended;
      if (status !== 0) throw new Error(`the lab ended with status ${String(status)}:\n${lab.output()}`);
      return `${backend.plugin} ${backend.version} and ${frontend.plugin}: ${fast.join(' and ')} frames received by the fast path`;
    }
  }

  /** The demo with the plugin: every frame accounted for. */
  async demo() {
    const args = ['--traffic', 'frames', '--rounds', '1', '--seconds', '0.2', '--json'];
    /** @type {unknown} */
    const report = JSON.parse(await this.netaccel(['demo', '--plugin', EXAMPLE, ...args]));
    const problems = demoProblems(report);
    if (problems.length > 0) throw new Error(`the demo's report:\n${problems.join('\n')}`);
    return 'native, slow and fast: nothing lost, doubled, reordered or corrupted';
  }

  /** The author's road: `npm create`, install, test. A cache of its own, as npm keeps what it created from before. */
  async create() {
    const folder = await this.empty('author');
    const create = ['create', '@netaccel/plugin', '--yes', '--'];
    const cache = { npm_config_cache: join(this.folder, 'cache') };
    await this.npm([...create, 'my-nic', '--yes'], folder, cache);
    await this.npm([...create, 'my-sender', '--device', 'transmit', '--yes'], folder, cache);
    const mine = join(folder, 'my-nic');
    const sender = join(folder, 'my-sender');
    await cp(join(folder, '.npmrc'), join(mine, '.npmrc'));
    await this.npm(['install', ...QUIET], mine);
    await symlink(join(mine, 'node_modules'), join(sender, 'node_modules'));
    for (const project of [mine, sender]) await this.npm(['test'], project);
    return 'a duplex and a transmit plugin, made by npm create: their tests pass at once';
  }
}

/** @param {{ guests: { fast: { rxFrames: number } }[] }[]} hosts */
function fastFrames(hosts) {
  return hosts.flatMap(({ guests }) => guests.map(({ fast }) => fast.rxFrames));
}

/** @param {{ passed: number, failed: number }} report @param {string} what */
function conformance(report, what) {
  if (report.failed !== 0 || report.passed === 0)
    throw new Error(`netaccel conform ${what}: ${JSON.stringify(report)}`);
  return `netaccel conform ${what}: ${report.passed} passed`;
}

/** @returns {Promise<string[]>} */
async function publicPackages() {
  const names = [];
  for (const entry of await readdir(join(ROOT, 'packages'))) {
    /** @type {{ name: string, private?: boolean }} */
    const manifest = JSON.parse(await readFile(join(ROOT, 'packages', entry, 'package.json'), 'utf8'));
    if (manifest.private !== true) names.push(manifest.name);
  }
  return names;
}

/** @param {string} what @param {() => Promise<string>} work */
async function step(what, work) {
  const began = performance.now();
  const outcome = await work();
  console.log(
    `${what.padEnd(9)} ${((performance.now() - began) / 1000).toFixed(1).padStart(5)} s  ${outcome}`,
  );
}

/** The road of who takes a plugin that somebody else wrote. @param {Check} check */
async function user(check) {
  await step('example', () => check.example());
  await step('install', () => check.install());
  await step('conform', () => check.conform());
  await step('lab', () => check.run());
  await step('demo', () => check.demo());
}

async function main() {
  const folder = await mkdtemp(join(tmpdir(), 'na-'));
  /** @type {Registry | null} */
  let registry = null;
  try {
    await step('registry', async () => {
      await installRegistry();
      registry = await startRegistry(folder);
      return `${registry.url} serves ${SCOPES.join(' and ')}`;
    });
    const check = new Check(folder, /** @type {Registry} */ (/** @type {unknown} */ (registry)));
    await step('publish', () => check.publish());
    // The two roads do not meet, and both wait for npm.
    await Promise.all([user(check), step('create', () => check.create())]);
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  } finally {
    await stopAll();
    await /** @type {Registry | null} */ (registry)?.close();
    if (process.argv.includes('--keep')) console.log(`kept: ${folder}`);
    else await rm(folder, { recursive: true, force: true });
  }
}

for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM']))
  // On, not once: a library of the registry's ends the process where nobody else listens any more.
  process.on(signal, () => {
    console.error(`stopped by ${signal}`);
    process.exitCode = 1;
    void stopAll(); // what is awaited fails then, and all is taken down
  });
await main();
