/**
 * `netaccel migrate` as a user has it: a guest with a TCP connection open goes from a host with a plugin to one with
 * another, to one without any, and back, and the bytes go on; what cannot be is refused and touches nothing.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { callLab } from '../../src/control/socket.js';
import { probeTap } from '../../src/tap/index.js';
import type { MigrationReport } from '../../src/machine/migration.js';
import type { GuestReport, LabReport } from '../../src/up/report.js';
import { User } from './cli.js';
import type { Running } from './cli.js';

const PEER = fileURLToPath(new URL('../../dist/tcp-peer.js', import.meta.url));
const LAB = fileURLToPath(new URL('../../labs/three-hosts.yaml', import.meta.url));
const REFERENCE = '@netaccel/dummy-accel-backend';
const OTHER = fileURLToPath(new URL('../../../../test/plugins/other-backend.mjs', import.meta.url));
const SOON = { timeout: 30_000, interval: 50 };

const probe = await probeTap();
let user: User;
let lab: Running | null = null;

beforeEach(() => {
  user = new User();
  // This process asks the lab, too: a command for each look would take longer than the moves.
  process.env['NETACCEL_CONTROL_DIR'] = join(user.folder, 'c');
});

afterEach(async () => {
  lab?.child.kill('SIGKILL');
  await lab?.ended;
  lab = null;
  user.leave();
});

/**
 * The lab of three hosts, beta with another plugin than alpha, gamma with none.
 * @param bufferPages that guest a may have, in place of the usual number.
 */
async function up(bufferPages?: number): Promise<void> {
  const file = join(user.folder, 'three.yaml');
  const [head, alpha, beta, ...rest] = readFileSync(LAB, 'utf8').split(/^(?= {2}\w+:$)/m) as [
    string,
    ...string[],
  ];
  const pages = `{ bufferPages: ${String(bufferPages)} }`;
  const limited =
    bufferPages === undefined
      ? alpha!
      : alpha!
          .replace('accel: eth0', `accel: eth0, limits: ${pages}`)
          .replace('    guests:', `    nic: ${pages}\n    guests:`);
  writeFileSync(file, [head, limited, beta!.replace(`'${REFERENCE}'`, OTHER), ...rest].join(''));
  lab = user.start('up', file, '--json', '--ledger');
  const started = lab;
  const over = started.ended.then(({ stdout, stderr }) => {
    throw new Error(`the lab ended: ${stdout}${stderr}`);
  });
  over.catch(() => undefined);
  await Promise.race([over, vi.waitFor(() => JSON.parse(started.output().stdout) as LabReport, SOON)]);
}

async function guest(name: string): Promise<GuestReport> {
  const { hosts } = (await callLab('three-hosts', 'describe')) as LabReport;
  return hosts.flatMap(({ guests }) => guests).find((each) => each.name === name)!;
}

async function received(): Promise<number> {
  const { fast, slow } = await guest('b');
  return fast.rxFrames + slow.rxFrames;
}

function lastWord(stdout: string): Record<string, unknown> {
  return JSON.parse(stdout.trim().split('\n').at(-1)!) as Record<string, unknown>;
}

/** A TCP connection from a to b that is busy from here on. */
async function connection(): Promise<{ sender: Running; receiver: Running }> {
  const receiver = user.start('exec', 'b', '--', process.execPath, PEER, 'receive', '7000');
  await vi.waitFor(() => expect(receiver.output().stdout).toContain('listening'), SOON);
  const send = ['exec', 'a', '--', process.execPath, PEER, 'send', '10.77.0.12', '7000', '600'];
  const sender = user.start(...send);
  await vi.waitFor(async () => expect(await received()).toBeGreaterThan(500), SOON);
  return { sender, receiver };
}

/** The connection ends; every byte of it has arrived. */
async function ended({ sender, receiver }: Awaited<ReturnType<typeof connection>>): Promise<void> {
  sender.child.kill('SIGTERM');
  await sender.ended;
  const { code, stdout, stderr } = await receiver.ended;
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(lastWord(stdout)).toMatchObject({
    event: 'end',
    corrupted: 0,
    bytes: lastWord(sender.output().stdout)['bytes'],
  });
}

/** The lab ends; no domain of it holds anything. @param host where guest a is by then. */
async function down(host: string): Promise<void> {
  lab!.child.kill('SIGINT');
  const { stdout, ...end } = await lab!.ended;
  expect(end).toMatchObject({ code: 0, signal: null, stderr: '' });
  const held = { pages: 0, grants: 0, mappings: 0, ports: 0, watches: 0, timers: 0, tasks: 0, frames: 0 };
  expect(lastWord(stdout)).toEqual({
    schema: 'netaccel.ledger/1',
    name: 'three-hosts',
    domains: [
      { host: 'alpha', guest: null, held },
      { host: 'beta', guest: null, held },
      { host: 'gamma', guest: null, held },
      ...[
        { host, guest: 'a', held },
        { host: 'beta', guest: 'b', held },
      ].sort((x, y) => (x.host === y.host ? 0 : x.host < y.host ? -1 : 1)),
    ],
  });
}

describe('a guest with TCP connections open', () => {
  it(
    'moves to a host with another plugin, to one without, and back',
    { timeout: 300_000 },
    async (context) => {
      if (!probe.available) context.skip(`${probe.detail} ${probe.remedy}`);
      await up();
      const open = await connection();

      for (const [host, plugin] of [
        ['gamma', null],
        ['beta', OTHER],
        ['alpha', REFERENCE],
      ] as const) {
        const moved = await user.json<MigrationReport & { accelerated: boolean }>(
          'migrate',
          'a',
          host,
          '--json',
        );
        expect(moved).toMatchObject({ guest: 'a', to: host, announced: true, accelerated: plugin !== null });
        expect(moved.lost).toMatchObject({ holdFull: 0, txUnanswered: 0 });
        const now = await guest('a');
        expect(now).toMatchObject({
          host,
          accelerated: plugin !== null,
          acceleration: { backend: { plugin } },
        });
        const before = await received();
        await vi.waitFor(async () => expect(await received()).toBeGreaterThan(before + 500), SOON);
      }

      for (const [args, text] of [
        [
          ['migrate', 'a', 'nowhere'],
          'expected a host of the lab three-hosts, saw nowhere; there are: alpha, beta, gamma',
        ],
        [['migrate', 'nobody', 'beta'], 'expected a guest of the lab three-hosts, saw nobody'],
        [['migrate', 'a', 'alpha'], 'expected another host than alpha'],
      ] as const) {
        const { code, stderr } = await user.run(...args);
        expect(stderr).toContain(text);
        expect(code).not.toBe(0);
      }
      expect(await guest('a')).toMatchObject({ host: 'alpha', accelerated: true });

      await ended(open);
      await down('alpha');
    },
  );

  it(
    'stays where it is when its target has no room, and goes where there is room',
    { timeout: 300_000 },
    async (context) => {
      if (!probe.available) context.skip(`${probe.detail} ${probe.remedy}`);
      // Of what a host can map, this is nearly all: next to another guest there is no room for it.
      await up(40_000);
      const open = await connection();
      const before = await guest('a');
      for (let tries = 0; tries < 3; tries++) {
        const { code, stdout, stderr } = await user.run('migrate', 'a', 'beta');
        expect(stderr).toMatch(
          /expected room for \d+ mapped pages of a on beta, saw \d+; nothing was moved: move another guest away/,
        );
        expect({ code, stdout }).toEqual({ code: 3, stdout: '' });
        expect(await guest('a')).toMatchObject({
          host: 'alpha',
          vif: before.vif,
          accelerated: true,
          acceleration: { backend: { plugin: REFERENCE } },
        });
        const seen = await received();
        await vi.waitFor(async () => expect(await received()).toBeGreaterThan(seen + 500), SOON);
      }
      expect(await user.json('migrate', 'a', 'gamma', '--json')).toMatchObject({ to: 'gamma' });
      const seen = await received();
      await vi.waitFor(async () => expect(await received()).toBeGreaterThan(seen + 500), SOON);
      await ended(open);
      await down('gamma');
    },
  );
});
