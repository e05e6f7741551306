/** Each thing that a machine may lack is named, with what to do. */
import { spawnSync } from 'node:child_process';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import type { TapProbe } from '../../src/tap/index.js';
import { CompiledPrograms, output } from './compiled.js';

const isRoot = process.getuid?.() === 0;

afterEach(() => {
  vi.unstubAllEnvs();
  vi.doUnmock('koffi');
  vi.resetModules();
});

async function freshProbe(): Promise<TapProbe> {
  vi.resetModules();
  const { probeTap } = await import('../../src/tap/index.js');
  return probeTap();
}

test('names koffi when it cannot be imported', async (context) => {
  if (process.platform !== 'linux') context.skip(`this is ${process.platform}`);
  vi.doMock('koffi', () => {
    throw new Error('not there');
  });
  const probe = await freshProbe();
  expect(probe).toMatchObject({ available: false, missing: 'koffi', remedy: 'Run "npm install koffi".' });
});

test('names Linux where there is another system', async () => {
  const platform = vi.spyOn(process, 'platform', 'get').mockReturnValue('darwin');
  try {
    expect(await freshProbe()).toMatchObject({ available: false, missing: 'linux' });
  } finally {
    platform.mockRestore();
  }
});

test('names the program of util-linux that is missing', async (context) => {
  const before = await freshProbe();
  if (!before.available) context.skip(before.detail);
  vi.stubEnv('PATH', '/nowhere');
  const needsUnshare = before.available && before.needsUserNamespace;
  expect(await freshProbe()).toMatchObject({
    available: false,
    missing: needsUnshare ? 'user-namespaces' : 'setpriv',
    detail: expect.stringContaining('ENOENT') as string,
    remedy: expect.stringContaining('util-linux') as string,
  });
});

describe('in a process of its own', () => {
  let programs: CompiledPrograms;
  beforeAll(() => {
    programs = new CompiledPrograms();
  });
  afterAll(() => programs.remove());

  test('names the TUN device when there is none', async (context) => {
    const hide = ['-U', '-r', '-m', 'sh', '-c', 'mount -t tmpfs tmpfs /dev/net && exec "$@"', 'sh'];
    const tried = spawnSync('unshare', [...hide, 'true'], { encoding: 'utf8' });
    if (tried.status !== 0) context.skip(`cannot hide /dev/net: ${tried.stderr}`);
    const { stdout } = await output(programs.startUnder(['unshare', ...hide], 'prober', []));
    expect(JSON.parse(stdout)).toMatchObject({
      missing: 'tun-device',
      remedy: expect.stringContaining('modprobe') as string,
    });
  });

  test('names user namespaces when they are forbidden, and says which setting does it', async (context) => {
    const forbid = ['-U', '-r', 'sh', '-c', 'echo 0 >/proc/sys/user/max_user_namespaces && exec "$@"', 'sh'];
    const tried = spawnSync('unshare', [...forbid, 'true'], { encoding: 'utf8' });
    if (tried.status !== 0) context.skip(`cannot forbid user namespaces: ${tried.stderr}`);
    const probed = await output(programs.startUnder(['unshare', ...forbid], 'prober', []));
    expect(JSON.parse(probed.stdout)).toMatchObject({
      missing: 'user-namespaces',
      remedy: expect.stringContaining('user.max_user_namespaces=10000') as string,
    });
    const entered = await output(programs.startUnder(['unshare', ...forbid], 'prober', ['enter']));
    expect(entered.code).not.toBe(0);
    expect(entered.stderr).toMatch(/NO_USER_NAMESPACE/);
  });

  test('an ordinary user becomes able to, by entering', async (context) => {
    const before = await freshProbe();
    if (!before.available) context.skip(before.detail);
    if (isRoot) context.skip('root is able to already; lab.test.ts enters as user 65534');
    const { stdout } = await output(programs.start('prober', ['enter'], 'self'));
    expect(JSON.parse(stdout)).toEqual({ available: true, needsUserNamespace: false });
  });
});
