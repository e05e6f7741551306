/** The built command's cheap sides: what it says to nonsense, and how it ends. */
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { User } from './cli.js';

const user = new User();
afterAll(() => {
  user.leave();
});

const COMMANDS = ['demo', 'up', 'ls', 'top', 'explain', 'accel', 'capture', 'exec', 'doctor'];

describe('netaccel, asked for nonsense', () => {
  it.each([
    [['lss'], 'expected a command, saw lss; did you mean ls?'],
    [['explian', 'a'], 'did you mean explain?'],
    [['frobnicate'], 'expected a command, saw frobnicate; "netaccel --help" says what there is'],
    [['ls', '--jsn'], 'expected an option of netaccel ls, saw --jsn; did you mean --json?'],
    [['accel', 'laod', 'alpha', 'x'], 'expected a command, saw laod; did you mean load?'],
    [['explain'], "missing required argument 'guest'"],
    [['capture', 'a'], "'-w, --write <file>' not specified"],
    [['top', '--interval', '-3'], 'expected a number above 0, saw -3'],
    [['up', 'x.yaml', '--name', '../x'], 'expected a letter'],
    [['xen', 'backend', '--option', 'filters=4'], 'expected --plugin before it, saw none'],
    [['xen', 'backend', '--plugin', 'x', '--option', 'filters'], 'expected NAME=VALUE such as filters=4'],
    [['demo', '--secnods', '3'], 'saw --secnods; did you mean --seconds?'],
  ])('%j: says what was expected and what is near, and ends with 2', async (args, text) => {
    const { code, stdout, stderr } = await user.run(...args);
    expect(stderr).toContain(text);
    expect(stdout).toBe('');
    expect(code).toBe(2);
  });

  it('says it as JSON to a machine', async () => {
    const { code, stdout, stderr } = await user.run('ls', '--json', '--lba', 'x');
    expect(JSON.parse(stdout)).toEqual({
      error: { code: 'USAGE', message: expect.stringContaining('did you mean --lab?') as unknown },
    });
    expect({ code, stderr }).toEqual({ code: 2, stderr: '' });
  });
});

describe('netaccel, asked for help', () => {
  it.each(COMMANDS)('%s --help has a usage line and examples', async (command) => {
    const { code, stdout } = await user.run(command, '--help');
    expect(stdout).toContain(`Usage: netaccel ${command}`);
    expect(stdout).toContain('Examples:\n  netaccel ');
    expect(code).toBe(0);
  });

  it('help X is X --help', async () => {
    const [a, b] = await Promise.all([user.run('help', 'demo'), user.run('demo', '--help')]);
    expect(a).toEqual(b);
  });

  it('names every command and every exit code', async () => {
    const { stdout, code } = await user.run('--help');
    for (const command of COMMANDS) expect(stdout).toMatch(new RegExp(`^  ${command} `, 'm'));
    expect(stdout).toContain('0 ok, 1 failed, 2 usage, 3 badInput, 4 environment, 130 interrupted');
    expect(code).toBe(0);
  });

  it('prints its version', async () => {
    expect((await user.run('--version')).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});

describe('netaccel without a lab', () => {
  it.each([
    [['ls']],
    [['top']],
    [['explain', 'a']],
    [['accel', 'load', 'alpha', 'x']],
    [['capture', 'a', '-w', 'x.pcapng']],
    [['exec', 'a', '--', 'true']],
  ])('%j says how to start one, and ends with 3', async (args) => {
    const { code, stderr } = await user.run(...args);
    expect(stderr).toBe('netaccel: no lab runs; start one with "netaccel up FILE"\n');
    expect(code).toBe(3);
  });

  it('names the lab that does not run', async () => {
    const { code, stdout } = await user.run('ls', '--lab', 'nowhere', '--json');
    expect(JSON.parse(stdout)).toEqual({
      error: { code: 'NO_LAB', message: 'no lab named nowhere runs; start one with "netaccel up FILE"' },
    });
    expect(code).toBe(3);
  });
});

function file(name: string, text: string): string {
  const path = join(user.folder, name);
  writeFileSync(path, text);
  return path;
}

describe('netaccel up, given a bad lab', () => {
  it('tells all problems at once, each with its place, and starts nothing', async () => {
    const path = file(
      'bad.yaml',
      'lab: 1\nhosts:\n  alpha:\n    acelerator: "@netaccel/dummy-accel-backend"\n    guests:\n' +
        '      a: { port: tap, mac: 02:00:00:00:00:01 }\n      b: { port: tap, mac: 02:00:00:00:00:01 }\n' +
        '  beta: { accelerator: "@netaccel/dummy-accel-backnd" }\n',
    );
    const { code, stdout, stderr } = await user.run('up', path);
    expect(stderr).toContain('3 problems, nothing was started');
    expect(stderr).toContain(`${path}:4:5:`);
    expect(stderr).toContain('did you mean accelerator?');
    expect(stderr).toMatch(/:7:\d+: hosts\.alpha\.guests\.b\.mac/);
    expect(stderr).toContain('did you mean @netaccel/dummy-accel-backend?');
    expect({ code, stdout }).toEqual({ code: 3, stdout: '' });
  });

  it('does so for machines', async () => {
    const { code, stdout } = await user.run('up', '--json', join(user.folder, 'absent.yaml'));
    const { error } = JSON.parse(stdout) as { error: { code: string; problems: { code: string }[] } };
    expect(error.code).toBe('LAB_FILE');
    expect(error.problems.map((problem) => problem.code)).toEqual(['LAB_CANNOT_READ']);
    expect(code).toBe(3);
  });

  it('refuses a plugin of another contract, with both versions and the command that mends it', async () => {
    const plugin = file(
      'old.mjs',
      "export default { kind: 'backend', name: 'old', version: '0.1.0', contract: 99, frontend: 'x', capabilities: {}, supports: () => true, probe() {} };",
    );
    const path = file(
      'contract.yaml',
      `lab: 1\nhosts: { alpha: { accelerator: ${plugin}, guests: { a: { port: memory } } } }\n`,
    );
    const { code, stderr } = await user.run('up', path);
    expect(stderr).toContain('old was made for contract version 99; this host speaks 1');
    expect(stderr).toContain('npm install');
    expect(code).toBe(3);
  });

  it('refuses a capture file that is none', async () => {
    file('none.pcap', 'not a capture');
    const path = file(
      'capture.yaml',
      'lab: 1\nhosts: { alpha: { guests: { a: { port: { pcap: none.pcap } } } } }\n',
    );
    const { code, stderr } = await user.run('up', path);
    expect(stderr).toContain('expected a pcap or pcapng file');
    expect(stderr).toContain('nothing was started');
    expect(code).toBe(3);
  });
});

describe('netaccel up, where TAPs cannot be', () => {
  it('says what is missing and what to do, and ends with 4', async () => {
    // A program path without unshare, setpriv and the rest; root needs setpriv, others unshare.
    const path = file('tap.yaml', 'lab: 1\nhosts: { alpha: { guests: { a: { port: tap } } } }\n');
    const { code, stdout, stderr } = await user.runWith({ PATH: user.folder }, 'up', path);
    expect(stderr).toMatch(/^netaccel: .*(setpriv|unshare|tun|koffi|Linux)/);
    expect(stderr).toContain('only labs whose every port is "memory" or a capture file run here');
    expect({ code, stdout }).toEqual({ code: 4, stdout: '' });
  });
});

describe.skipIf(existsSync('/proc/xen/capabilities'))('netaccel xen on a machine without Xen', () => {
  it.each([[['backend', '--bridge', 'xenbr0']], [['frontend', '--tap', 'notap0']]])(
    '%j says so, and ends with 4',
    async (args) => {
      const { code, stderr } = await user.run('xen', ...args);
      expect(stderr).toMatch(
        /expected to open \/dev\/xen\/\w+; the kernel answered ENOENT\. This machine does not run under Xen|koffi|\/dev\/net\/tun/,
      );
      expect(code).toBe(4);
    },
  );
});

describe('netaccel doctor', () => {
  it('says what is there and what is not, and its exit code says whether TAP labs run', async () => {
    const { code, stdout } = await user.run('doctor', '--json');
    const { schema, canRunTaps, findings } = JSON.parse(stdout) as {
      schema: string;
      canRunTaps: boolean;
      findings: { what: string; state: string; needed: boolean; remedy: string }[];
    };
    expect(schema).toBe('netaccel.doctor/1');
    expect(code).toBe(canRunTaps ? 0 : 4);
    expect(canRunTaps).toBe(findings.every(({ needed, state }) => !needed || state === 'ok'));
    for (const { state, remedy } of findings) expect(remedy === '').toBe(state === 'ok');
    expect(findings.find(({ what }) => what === 'Node.js')?.state).toBe('ok');
    expect(findings.find(({ what }) => what === '@netaccel/dummy-accel-backend')?.state).toBe('ok');
  });
});
