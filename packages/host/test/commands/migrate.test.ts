/**
 * `netaccel migrate` as a user has it: a guest with a TCP connection open goes from a host with a plugin to one with
 * another, to one without any, and back, and the bytes go on; what cannot be is refused and touches nothing.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it, vi } from 'vitest';
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
const user = new User();
// This process asks the lab, too: a command for each look would take longer than the moves.
process.env['NETACCEL_CONTROL_DIR'] = join(user.folder, 'c');
let lab: Running | null = null;

afterEach(async () => {
  lab?.child.kill('SIGKILL');
  await lab?.ended;
  lab = null;
  user.leave();
});

/** The lab of three hosts, beta with another plugin than alpha, gamma with none. */
async function up(): Promise<void> {
  const file = join(user.folder, 'three.yaml');
  const [head, alpha, beta, ...rest] = readFileSync(LAB, 'utf8').split(/^(?= {2}\w+:$)/m) as [
    string,
    ...string[],
  ];
  writeFileSync(file, [head, alpha, beta!.replace(`'${REFERENCE}'`, OTHER), ...rest].join(''));
  lab = user.start('up', file, '--json');
  const started = lab;
  const over = started.ended.then(({ stderr }) => {
    throw new Error(`the lab ended: ${stderr}`);
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

describe('a guest with TCP connections open', () => {
  it(
    'moves to a host with another plugin, to one without, and back',
    { timeout: 300_000 },
    async (context) => {
      if (!probe.available) context.skip(`${probe.detail} ${probe.remedy}`);
      await up();
      const receiver = user.start('exec', 'b', '--', process.execPath, PEER, 'receive', '7000');
      await vi.waitFor(() => expect(receiver.output().stdout).toContain('listening'), SOON);
      const send = ['exec', 'a', '--', process.execPath, PEER, 'send', '10.77.0.12', '7000', '600'];
      const sender = user.start(...send);
      await vi.waitFor(async () => expect(await received()).toBeGreaterThan(500), SOON);

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

      sender.child.kill('SIGTERM');
      await sender.ended;
      const { code, stdout, stderr } = await receiver.ended;
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      expect(lastWord(stdout)).toMatchObject({
        event: 'end',
        corrupted: 0,
        bytes: lastWord(sender.output().stdout)['bytes'],
      });
      lab!.child.kill('SIGINT');
      expect(await lab!.ended).toMatchObject({ code: 0, signal: null, stderr: '' });
    },
  );
});
