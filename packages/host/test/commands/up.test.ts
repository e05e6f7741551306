/**
 * A lab from its file to its end, as a user has it: the built command, real namespaces, real TCP, the plugin coming
 * and going under traffic, a capture that is read back, and Ctrl-C after which nothing is left.
 */
import { existsSync, readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest';
import type { TestContext } from 'vitest';
import { readCapture } from '../../src/capture/index.js';
import { probeTap } from '../../src/tap/index.js';
import type { ExplainReport } from '../../src/up/explain.js';
import type { GuestReport, LabReport } from '../../src/up/report.js';
import { User } from './cli.js';
import type { Running } from './cli.js';

const TWO_HOSTS = fileURLToPath(new URL('../../labs/two-hosts.yaml', import.meta.url));
const PEER = fileURLToPath(new URL('../../dist/tcp-peer.js', import.meta.url));
const BACKEND = '@netaccel/dummy-accel-backend';
const MEMORY_LAB = `lab: 1
name: quiet
hosts:
  alpha:
    guests:
      a: { port: memory, accel: false }
      c: { port: { pcap: CAPTURE, loop: true }, eventChannels: fifo }
  beta: { eventChannels: fifo, guests: { b: { port: memory } } }
wires: [{ between: [alpha.eth0, beta.eth0] }]
`;
const CAPTURE = fileURLToPath(new URL('../../captures/mixed.pcapng', import.meta.url));
const TIMEOUT_MS = 90_000;
const SOON = { timeout: 20_000, interval: 50 };

const probe = await probeTap();
let user = new User();
const labs: Running[] = [];

afterEach(async () => {
  for (const { child, ended } of labs.splice(0)) {
    child.kill('SIGKILL');
    await ended;
  }
  user.leave();
  user = new User();
});
afterAll(() => {
  user.leave();
});

function needTaps(context: TestContext): void {
  if (!probe.available) context.skip(`${probe.detail} ${probe.remedy}`);
}

/** Starts a lab; resolves when it is up. */
async function up(file: string, ...args: string[]): Promise<{ running: Running; report: LabReport }> {
  const running = user.start('up', file, '--json', ...args);
  labs.push(running);
  const over = running.ended.then(({ code, stdout, stderr }) => {
    throw new Error(`the lab ended with ${String(code)}: ${stderr}${stdout}`);
  });
  over.catch(() => undefined);
  const report = await Promise.race([
    over,
    vi.waitFor(() => JSON.parse(running.output().stdout) as LabReport, SOON),
  ]);
  return { running, report };
}

async function guest(name: string): Promise<GuestReport> {
  const { hosts } = await user.json<LabReport>('ls', '--json', '--no-rates');
  return hosts.flatMap(({ guests }) => guests).find((each) => each.name === name)!;
}

/** A transfer between the guests that goes on until it is ended. */
async function traffic(seconds: number): Promise<{ receiver: Running; sender: Running }> {
  const receiver = user.start('exec', 'b', '--', process.execPath, PEER, 'receive', '7000');
  await vi.waitFor(() => expect(receiver.output().stdout).toContain('listening'), SOON);
  const sender = user.start(
    'exec',
    'a',
    '--',
    process.execPath,
    PEER,
    'send',
    '10.77.0.12',
    '7000',
    String(seconds),
  );
  return { receiver, sender };
}

interface PeerWord {
  readonly event: string;
  readonly bytes: number;
  readonly corrupted: number;
}

function lastWord(stdout: string): PeerWord {
  return JSON.parse(stdout.trim().split('\n').at(-1)!) as PeerWord;
}

function descendants(pid: number): number[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .map(Number)
    .filter((each) => {
      try {
        return Number(/\) \S (\d+)/.exec(readFileSync(`/proc/${each}/stat`, 'utf8'))?.[1]) === pid;
      } catch {
        return false; // ended meanwhile
      }
    });
}

/** Network namespaces that somebody is in. */
function namespaces(): Set<string> {
  const found = new Set<string>();
  for (const entry of readdirSync('/proc'))
    try {
      if (/^\d+$/.test(entry)) found.add(readlinkSync(`/proc/${entry}/ns/net`));
    } catch {
      // ended meanwhile
    }
  return found;
}

describe('a lab of two hosts with TAPs', () => {
  it(
    'carries TCP on both paths while the plugin comes and goes, and is captured and explained',
    { timeout: TIMEOUT_MS },
    async (context) => {
      needTaps(context);
      const { report } = await up(TWO_HOSTS);
      expect(
        report.hosts.flatMap(({ guests }) => guests.map(({ name, accelerated }) => [name, accelerated])),
      ).toEqual([
        ['a', true],
        ['b', true],
      ]);

      const { receiver, sender } = await traffic(600);
      await vi.waitFor(async () => expect((await guest('b')).fast.rxFrames).toBeGreaterThan(1000), SOON);
      const explained = await user.json<ExplainReport & { whySlow: unknown }>('explain', 'b', '--json');
      expect(explained.whySlow).toBeNull();
      expect(explained.guest.acceleration.backend).toMatchObject({
        plugin: BACKEND,
        contract: 1,
        state: 'attached',
      });
      expect(explained.guest.acceleration.frontend).toMatchObject({ contract: 1, state: 'live' });
      expect(
        explained.filters.find(({ match }) => match.startsWith('tcp 10.77.0.12:7000'))?.hits,
      ).toBeGreaterThan(1000);
      expect(explained.features).toContainEqual({
        key: 'feature-rx-copy',
        backend: '1',
        frontend: null,
        outcome: 'accepted',
      });

      const file = join(user.folder, 'wire.pcapng');
      const captured = await user.json<{ frames: number }>(
        'capture',
        'beta.eth0',
        '-w',
        file,
        '--count',
        '5000',
        '--json',
      );
      expect(captured.frames).toBe(5000);
      const capture = readCapture(file);
      expect(capture.faults).toEqual([]);
      expect(capture.packets).toHaveLength(5000);
      expect(new Set(capture.interfaces.map(({ name }) => name))).toEqual(new Set(['beta.eth0']));
      expect(new Set(capture.packets.map(({ direction }) => direction))).toEqual(new Set([1, 2]));
      expect(capture.packets.flatMap(({ comments }) => comments)).toContain('fast');

      // Off the fast path, and back, while bytes flow.
      await user.json('accel', 'unload', 'beta', BACKEND, '--json');
      const slow = await guest('b');
      expect(slow.accelerated).toBe(false);
      await vi.waitFor(
        async () => expect((await guest('b')).slow.rxFrames).toBeGreaterThan(slow.slow.rxFrames + 500),
        SOON,
      );
      expect((await guest('b')).fast.rxFrames).toBe(slow.fast.rxFrames);
      const why = await user.json<{ whySlow: { why: string; todo: string } }>('explain', 'b', '--json');
      expect(why.whySlow.why).toBe('no backend plugin is loaded on beta');
      await user.json('accel', 'load', 'beta', BACKEND, '--json');
      const again = await guest('b');
      expect(again.accelerated).toBe(true);
      await vi.waitFor(
        async () => expect((await guest('b')).fast.rxFrames).toBeGreaterThan(again.fast.rxFrames + 500),
        SOON,
      );

      // The toolstack's key does the same for one vif.
      await user.json('accel', 'forbid', 'b', '--json');
      expect((await guest('b')).acceleration.port).toBeNull();
      await user.json('accel', 'allow', 'b', '--json');
      expect((await guest('b')).accelerated).toBe(true);

      sender.child.kill('SIGTERM');
      await sender.ended;
      const { code, stdout, stderr } = await receiver.ended;
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      expect(lastWord(stdout)).toMatchObject({
        event: 'end',
        corrupted: 0,
        bytes: lastWord(sender.output().stdout).bytes,
      });
    },
  );

  it(
    'is taken down by Ctrl-C in the middle of traffic, and nothing is left',
    { timeout: TIMEOUT_MS },
    async (context) => {
      needTaps(context);
      const before = namespaces();
      const { running, report } = await up(TWO_HOSTS);
      const { receiver, sender } = await traffic(600);
      await vi.waitFor(async () => expect((await guest('b')).fast.rxFrames).toBeGreaterThan(100), SOON);
      running.child.kill('SIGINT');
      expect(await running.ended).toMatchObject({ code: 0, signal: null, stderr: '' });
      expect((await Promise.all([receiver.ended, sender.ended])).map(({ code }) => code)).not.toContain(0);
      expect(descendants(report.pid)).toEqual([]);
      expect(existsSync(`/proc/${report.pid}`)).toBe(false);
      await vi.waitFor(() => expect([...namespaces()].filter((each) => !before.has(each))).toEqual([]), SOON);
      expect(readdirSync(join(user.folder, 'c'))).toEqual([]);
    },
  );

  it('starts again after it was killed', { timeout: TIMEOUT_MS }, async (context) => {
    needTaps(context);
    const first = await up(TWO_HOSTS);
    first.running.child.kill('SIGKILL');
    await first.running.ended;
    const second = await up(TWO_HOSTS, '--no-plugins');
    expect(second.report.hosts.map(({ plugins }) => plugins)).toEqual([[], []]);
    const { code, stderr } = await user.run('up', TWO_HOSTS);
    expect(stderr).toContain('a lab named two-hosts runs already');
    expect(code).toBe(3);
  });

  it('goes when it is interrupted while it starts', { timeout: TIMEOUT_MS }, async (context) => {
    needTaps(context);
    const running = user.start('up', TWO_HOSTS, '--verbose');
    labs.push(running);
    // Its first line: one domain is connected, the others are not.
    await vi.waitFor(() => expect(running.output().stderr).toContain('connected'), SOON);
    running.child.kill('SIGINT');
    const { code, stdout } = await running.ended;
    expect({ code, stdout }).toEqual({ code: 130, stdout: '' });
    expect(readdirSync(join(user.folder, 'c'))).toEqual([]);
  });
});

describe('a lab without TAPs', () => {
  it(
    'replays a capture file, is watched by ls and top, and captured at its bridge',
    { timeout: TIMEOUT_MS },
    async () => {
      const file = join(user.folder, 'quiet.yaml');
      const { writeFileSync } = await import('node:fs');
      writeFileSync(file, MEMORY_LAB.replace('CAPTURE', CAPTURE));
      const { running } = await up(file, '--no-plugins');
      await vi.waitFor(async () => expect((await guest('c')).slow.txFrames).toBeGreaterThan(1000), SOON);
      expect((await guest('b')).slow.rxFrames).toBeGreaterThan(0);
      const forms = await Promise.all(['a', 'b', 'c'].map(async (name) => (await guest(name)).eventChannels));
      expect(forms).toEqual(['2-level', 'fifo', 'fifo']);

      const { rates } = await user.json<{ rates: Record<string, { txFramesPerSecond: number }> }>(
        'ls',
        '--json',
      );
      expect(rates['alpha.c']!.txFramesPerSecond).toBeGreaterThan(0);
      expect(rates['beta.b']!.txFramesPerSecond).toBe(0);
      const top = await user.run('top', '--json', '--count', '2', '--interval', '0.1');
      expect(
        top.stdout
          .trim()
          .split('\n')
          .map((line) => (JSON.parse(line) as { lab: string }).lab),
      ).toEqual(['quiet', 'quiet']);

      const bridge = join(user.folder, 'bridge.pcapng');
      await user.json('capture', 'alpha', '-w', bridge, '--count', '50', '--json');
      const capture = readCapture(bridge);
      expect(capture.packets).toHaveLength(50);
      expect(new Set(capture.packets.map((packet) => packet.interface.name))).toEqual(new Set(['alpha.c']));
      expect(new Set(capture.packets.flatMap(({ comments }) => comments))).toEqual(new Set(['slow']));

      for (const [args, text] of [
        [['exec', 'a', '--', 'true'], 'expected a network namespace of alpha.a, saw port: memory'],
        [['explain', 'nobody'], 'expected a guest of the lab quiet, saw nobody'],
        [['capture', 'alpha.eth1', '-w', join(user.folder, 'x.pcapng')], 'has none'],
        [['accel', 'allow', 'a', 'eth7'], 'expected a NIC port'],
        [['accel', 'unload', 'alpha', 'x'], 'no plugin x is registered'],
        [['accel', 'load', 'alpha', './nowhere.js'], 'no plugin'],
      ] as const) {
        const { code, stderr } = await user.run(...args);
        expect(stderr).toContain(text);
        expect(code).toBe(3);
      }
      expect(existsSync(join(user.folder, 'x.pcapng'))).toBe(false);

      running.child.kill('SIGTERM');
      expect(await running.ended).toMatchObject({ code: 0, stderr: '' });
    },
  );
});
