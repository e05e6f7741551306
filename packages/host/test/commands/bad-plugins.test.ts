/**
 * Bad input against a lab that runs: plugins that are none, options that do not fit, moves that cannot be. Each is
 * refused with what was expected, what was seen and what to do, and the lab carries traffic on as it was.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { callLab } from '../../src/control/socket.js';
import type { LabProblem } from '../../src/lab/index.js';
import type { ExplainReport } from '../../src/up/explain.js';
import type { LabReport } from '../../src/up/report.js';
import { User } from './cli.js';
import type { Running } from './cli.js';

const CAPTURE = fileURLToPath(new URL('../../captures/mixed.pcapng', import.meta.url));
const BACKEND = '@netaccel/dummy-accel-backend';
const SOON = { timeout: 30_000, interval: 20 };

const LAB = `lab: 1
name: steady
hosts:
  alpha:
    accelerator: { plugin: '${BACKEND}', options: { filters: 4 } }
    guests:
      a: { port: memory }
      c: { port: { pcap: ${CAPTURE}, loop: true }, accel: false }
  beta: { guests: { b: { port: memory } } }
wires: [{ between: [alpha.eth0, beta.eth0] }]
`;

/** A backend plugin that is good but for \`change\`. */
const backend = (change: string): string =>
  `export default { kind: 'backend', name: 'odd', version: '0.1.0', contract: 1, frontend: 'x', capabilities: {},
    supports: () => true, probe: () => Promise.reject(new Error('never')), ${change} };`;

const PACKAGES: Readonly<Record<string, string>> = {
  'odd-empty': 'export const nothing = 1;',
  'odd-else': 'export default { name: 7 };',
  'odd-front': backend("kind: 'frontend', newDevice: () => Promise.reject(new Error('never'))"),
  'odd-throws': 'throw new Error("oops");',
  'odd-newer': backend('contract: 99'),
  'odd-schema': backend(
    "options: { type: 'object', additionalProperties: false, properties: { a: { type: 'date' } } }",
  ),
  'odd-default': backend(
    "options: { type: 'object', additionalProperties: false, properties: { a: { type: 'integer', description: '', minimum: 1, default: 0 } } }",
  ),
};

const user = new User();
process.env['NETACCEL_CONTROL_DIR'] = join(user.folder, 'c');
let lab: Running;

beforeAll(async () => {
  for (const [name, code] of Object.entries(PACKAGES)) {
    const folder = join(user.folder, 'node_modules', name);
    mkdirSync(folder, { recursive: true });
    writeFileSync(
      join(folder, 'package.json'),
      JSON.stringify({ name, type: 'module', exports: './index.js' }),
    );
    writeFileSync(join(folder, 'index.js'), code);
  }
  const file = join(user.folder, 'steady.yaml');
  writeFileSync(file, LAB);
  lab = user.start('up', file, '--json');
  await vi.waitFor(() => JSON.parse(lab.output().stdout) as LabReport, SOON);
});
afterAll(async () => {
  lab.child.kill('SIGINT');
  expect(await lab.ended).toMatchObject({ code: 0, stderr: '' });
  user.leave();
});

async function report(): Promise<LabReport> {
  return (await callLab('steady', 'describe')) as LabReport;
}

/** What must not change: who is where, by which plugin, with which options. */
async function state(): Promise<unknown> {
  const { hosts } = await report();
  return hosts.map(({ name, plugins, guests }) => ({
    name,
    plugins,
    guests: guests.map(({ name: guest, accelerated, acceleration }) => ({
      guest,
      accelerated,
      acceleration,
    })),
  }));
}

async function received(): Promise<number> {
  const guests = (await report()).hosts.flatMap((host) => host.guests);
  return guests.find(({ name }) => name === 'b')!.slow.rxFrames;
}

let before: unknown;
beforeEach(async () => {
  before = await state();
});

/** Runs what is to be refused; the lab is as it was, and frames flow. */
async function refused(code: number, text: RegExp, ...args: string[]): Promise<void> {
  const ended = await user.run(...args);
  expect(ended.stderr).toMatch(text);
  expect(ended).toMatchObject({ code, stdout: '' });
  expect(await state()).toEqual(before);
  const frames = await received();
  await vi.waitFor(async () => expect(await received()).toBeGreaterThan(frames), SOON);
}

describe('netaccel accel load, of what is no plugin', () => {
  it.each([
    ['odd-absent', /no plugin odd-absent was found from .*; run "npm install odd-absent" there/],
    ['odd-empty', /odd-empty has no default export; expected what defineBackendAccelerator\(\) returns/],
    ['odd-else', /odd-else exports something else by default; expected a backend plugin with probe\(\)/],
    ['odd-front', /odd-front exports a frontend plugin by default; expected a backend plugin/],
    ['odd-throws', /odd-throws threw while it was loaded: Error: oops; nothing was attached/],
    ['odd-newer', /contract version 99; this host speaks 1; run "npm install @netaccel\/host@latest"/],
    ['odd-schema', /odd-schema declares options that cannot be judged: properties\.a\.type/],
    ['odd-default', /default of a: expected a whole number of at least 1, saw the number 0/],
    [BACKEND, /is registered already/],
  ])('refuses %s', async (name, text) => {
    await refused(3, text, 'accel', 'load', 'alpha', name);
  });
});

describe('netaccel accel load, with options', () => {
  const load = ['accel', 'load', 'beta', BACKEND, '--option'];

  it.each([
    ['filters=65', /option filters: expected a whole number from 0 to 64, saw the number 65/],
    ['filters=many', /option filters: expected a whole number from 0 to 64, saw the text "many"/],
    ['filtres=4', /option filtres: expected one of filters, saw the key "filtres"; did you mean filters\?/],
  ])('refuses %s', async (option, text) => {
    await refused(3, text, ...load, option);
  });

  it.each([
    [['filters'], /'filters' is invalid. expected NAME=VALUE such as filters=4/],
    [['filters=1', '--option', 'filters=2'], /'filters=2' is invalid. expected filters once/],
  ])('refuses %j', async (words, text) => {
    await refused(2, text, ...load, ...words);
  });

  it('loads with those that fit, and says them', async () => {
    await user.json('accel', 'load', 'beta', BACKEND, '--json', '--option', 'filters=2');
    const beta = (await report()).hosts.find(({ name }) => name === 'beta');
    expect(beta?.plugins).toMatchObject([{ name: BACKEND, options: { filters: 2 } }]);
    const { guest } = await user.json<ExplainReport>('explain', 'b', '--json');
    expect(guest.acceleration.backend.detail).toMatchObject({ options: { filters: 2 } });
    await user.json('accel', 'unload', 'beta', BACKEND, '--json');
  });
});

describe('netaccel up, with options', () => {
  const write = (name: string, accelerator: string): string => {
    const file = join(user.folder, name);
    writeFileSync(
      file,
      `lab: 1\nhosts:\n  alpha:\n    accelerator:\n${accelerator}\n    guests: { a: { port: memory } }\n`,
    );
    return file;
  };

  it('tells all that do not fit, with file and line and the name that was meant, and starts nothing', async () => {
    const file = write(
      'bad.yaml',
      `      - plugin: '${BACKEND}'\n        options:\n          filters: 65\n          filtres: 4`,
    );
    const { code, stdout } = await user.run('up', file, '--json');
    const { error } = JSON.parse(stdout) as { error: { code: string; problems: LabProblem[] } };
    expect(error.problems).toMatchObject([
      {
        code: 'LAB_BAD_VALUE',
        path: 'hosts.alpha.accelerator[0].options.filters',
        line: 7,
        column: 20,
        expected: 'a whole number from 0 to 64',
        seen: 'the number 65',
      },
      {
        code: 'LAB_UNKNOWN_KEY',
        path: 'hosts.alpha.accelerator[0].options.filtres',
        line: 8,
        column: 11,
        nearest: 'filters',
        advice: 'did you mean filters?',
      },
    ]);
    expect(code).toBe(3);
    expect(await state()).toEqual(before);
  });

  it.each([
    [`      { plugin: '${BACKEND}', optoins: {} }`, /did you mean options\?/],
    [
      `      { plugin: '${BACKEND}', options: { filters: [4] } }`,
      /expected: a number, true, false or a text/,
    ],
    [`      { plugin: '${BACKEND}', options: 4 }`, /expected: a mapping of options by name/],
    [`      - { plugn: '${BACKEND}' }`, /did you mean plugin\?/],
  ])('refuses %s', async (accelerator, text) => {
    await refused(3, text, 'up', write('odd.yaml', accelerator));
  });

  it('sets them', async () => {
    const { hosts } = await report();
    expect(hosts[0]!.plugins).toMatchObject([{ name: BACKEND, options: { filters: 4 } }]);
  });
});

describe('netaccel migrate, to where a guest cannot be', () => {
  it.each([
    ['nowhere', /expected a host of the lab steady, saw nowhere; there are: alpha, beta/],
    ['alpha', /expected another host than alpha/],
  ])('refuses %s', async (host, text) => {
    await refused(3, text, 'migrate', 'a', host);
  });
});
