// xenstore's own tools look into a running lab: what `netaccel up --store-socket` is for.
import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { LabReport } from '../../src/up/report.js';
import { User } from './cli.js';
import type { Running } from './cli.js';

const TOOLS = ['ls', 'read', 'write', 'watch', 'chmod', 'exists', 'list', 'rm'].map(
  (each) => `xenstore-${each}`,
);
const missing = TOOLS.filter((tool) => spawnSync(tool, ['-h'], { stdio: 'ignore' }).error !== undefined);
const LAB = `lab: 1
name: stores
hosts:
  alpha: { guests: { a: { port: memory }, c: { port: memory } } }
  beta: { guests: { b: { port: memory } } }
wires: [{ between: [alpha.eth0, beta.eth0] }]
`;
const TIMEOUT_MS = 120_000;
const SOON = { timeout: 60_000, interval: 50 };

const user = new User();
const store = join(user.folder, 'store');
let lab: Running;
let report: LabReport;

beforeAll(async () => {
  const file = join(user.folder, 'lab.yaml');
  writeFileSync(file, LAB);
  lab = user.start('up', file, '--no-plugins', '--store-socket', 'store', '--json');
  report = await vi.waitFor(() => JSON.parse(lab.output().stdout) as LabReport, SOON);
}, TIMEOUT_MS);
afterAll(async () => {
  lab.child.kill('SIGKILL');
  await lab.ended;
  user.leave();
});

function environment(host: string): NodeJS.ProcessEnv {
  return { ...process.env, XENSTORED_PATH: `${store}.${host}` };
}

/** Runs a tool against a host's store; its code and what it printed. */
function run(
  host: string,
  tool: string,
  ...args: string[]
): { code: number | null; out: string; err: string } {
  const { status, stdout, stderr } = spawnSync(`xenstore-${tool}`, args, {
    encoding: 'utf8',
    env: environment(host),
    timeout: TIMEOUT_MS,
  });
  return { code: status, out: stdout, err: stderr };
}

const tool = (...args: [string, ...string[]]): string => {
  const { code, out, err } = run('alpha', ...args);
  expect({ code, err }).toEqual({ code: 0, err: '' });
  return out;
};

describe.skipIf(missing.length > 0)(
  `xenstore's tools in a running lab${missing.length > 0 ? ` (skipped: ${missing.join(', ')} not installed; try \`apt-get install xenstore-utils\`)` : ''}`,
  { timeout: TIMEOUT_MS },
  () => {
    it('are told where each host’s store is', () => {
      expect(report.hosts.map(({ storeSocket }) => storeSocket)).toEqual([`${store}.alpha`, `${store}.beta`]);
    });

    it('list the devices, whole paths with permissions: xenstore-ls -f -p', () => {
      const all = tool('ls', '-f', '-p');
      expect(all).toMatch(/^\/local\/domain\/0\/backend\/vif\/1\/0\/state = "4" +\(n0,r1\)$/m);
      expect(all).toMatch(/^\/local\/domain\/1\/device\/vif\/0\/state = "4" +\(n1,r0\)$/m);
      expect(all).toMatch(/^\/local\/domain\/2\/device\/vif\/0\/tx-ring-ref = "\d+"/m);
      expect(run('beta', 'ls', '-f').out).not.toContain('/local/domain/2');
    });

    it('list names, read values and say what is there', () => {
      expect(tool('list', '/local/domain').split(/\s+/).filter(Boolean).sort()).toEqual(['0', '1', '2']);
      expect(tool('read', '-p', '/local/domain/1/device/vif/0/backend')).toBe(
        '/local/domain/1/device/vif/0/backend: /local/domain/0/backend/vif/1/0\n',
      );
      expect(run('alpha', 'exists', '/local/domain/1/device/vif/0').code).toBe(0);
      expect(run('alpha', 'exists', '/local/domain/7').code).toBe(1);
      expect(run('alpha', 'read', '/local/domain/7/name')).toMatchObject({ code: 1, out: '' });
    });

    it('write, change permissions, remove', () => {
      tool('write', '/tool/test/key', 'a value\\x00with a zero', '/tool/test/other', '2');
      expect(tool('read', '/tool/test/key', '/tool/test/other')).toBe('a value\\000with a zero\n2\n');
      tool('chmod', '-r', '/tool/test', 'n0', 'r1', 'b2');
      expect(tool('ls', '-f', '-p', '/tool')).toMatch(/^\/tool\/test\/other = "2" +\(n0,r1,b2\)$/m);
      tool('rm', '/tool/test');
      expect(run('alpha', 'exists', '/tool/test/key').code).toBe(1);
      expect(run('alpha', 'exists', '/tool').code).toBe(0);
      tool('rm', '-t', '/tool/nothing', '/tool');
    });

    it('get the protocol’s error for what is wrong, and the lab goes on', async () => {
      for (const [args, text] of [
        [['read', '/no such path'], "couldn't read path"],
        [['write', '/doubled//slash', 'x'], 'could not write'],
        [['write', '/long', 'x'.repeat(4096)], 'could not write'],
        [['chmod', '/local/domain/1', 'q1'], ''],
      ] as const) {
        const { code, err } = run('alpha', ...(args as unknown as [string, ...string[]]));
        expect(err.toLowerCase()).toContain(text);
        expect(code).not.toBe(0);
      }
      const { hosts } = await user.json<LabReport>('ls', '--json', '--no-rates');
      expect(hosts.flatMap(({ guests }) => guests).map(({ carrier }) => carrier)).toEqual([true, true, true]);
    });

    it('watch: the node itself, what comes below it, and its end', async () => {
      const watch: ChildProcess = spawn('xenstore-watch', ['-n', '3', '/tool/watched'], {
        env: environment('alpha'),
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      let seen = '';
      watch.stdout!.setEncoding('utf8').on('data', (text: string) => (seen += text));
      const over = new Promise((resolve) => watch.once('close', resolve));
      await vi.waitFor(() => expect(seen).toBe('/tool/watched\n'), SOON);
      tool('write', '/tool/watched/below', '1');
      await vi.waitFor(() => expect(seen.split('\n')).toContain('/tool/watched/below'), SOON);
      tool('rm', '/tool/watched');
      expect(await over).toBe(0);
      expect(seen.trim().split('\n')).toHaveLength(3);
    });
  },
);

describe('a store socket', { timeout: TIMEOUT_MS }, () => {
  it('is not put where a file is; the lab is not started', async () => {
    const file = join(user.folder, 'lab.yaml');
    writeFileSync(`${store}2.beta`, 'mine');
    const { code, stderr } = await user.run('up', file, '--name', 'second', '--store-socket', `${store}2`);
    expect(stderr).toContain(`${store}2.beta: expected nothing or a socket that was left behind`);
    expect(code).toBe(3);
    expect(existsSync(`${store}2.alpha`)).toBe(false);
  });

  it('goes with its lab', async () => {
    expect(existsSync(`${store}.alpha`)).toBe(true);
    lab.child.kill('SIGINT');
    expect(await lab.ended).toMatchObject({ code: 0 });
    expect(existsSync(`${store}.alpha`)).toBe(false);
    expect(existsSync(`${store}.beta`)).toBe(false);
  });
});
