// `netaccel conform` as a user runs it: a plugin that keeps every rule, one that does not, and packages that are none.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { User } from './cli.js';

const user = new User();
const TIMEOUT_MS = 120_000;
const BACK = '@netaccel/dummy-accel-backend';
/** Hooks of a definition that is never driven. */
const half = (changes: string): string =>
  `export default { kind: 'backend', name: 'mine', version: '1.0.0', contract: 1, frontend: '@netaccel/dummy-accel-frontend',
    capabilities: {}, supports: () => true, probe: () => Promise.reject(new Error('it <never> comes up')), ${changes} };`;

afterAll(() => user.leave());

function plugin(name: string, text: string): string {
  writeFileSync(join(user.folder, name), text);
  return `./${name}`;
}

describe('netaccel conform', () => {
  it(
    'says of the reference plugin that it keeps every rule, by either half',
    async () => {
      const both = await user.run('conform', BACK);
      // Elsewhere than on a terminal progress is a line now and then.
      expect(both.stderr.replaceAll(/^checked .*\n/gm, '')).toBe('');
      expect(both.stdout).toMatch(/kept {6}transmit\.sends: .*\n/);
      expect(both.stdout).toMatch(
        /dummy-accel-backend 1.* with .*dummy-accel-frontend 1.*: \d+ rules kept, 0 broken\n$/,
      );
      expect(both.code).toBe(0);
      const front = [
        'conform',
        '@netaccel/dummy-accel-frontend',
        '--backend',
        BACK,
        '--only',
        'ledger',
        '--json',
      ];
      const report = await user.json<{ schema: string; conforms: boolean; results: { id: string }[] }>(
        ...front,
      );
      expect(report).toMatchObject({ schema: 'netaccel.conform/1', conforms: true, failed: 0, seed: 1 });
      expect(report.results.every(({ id }) => id.startsWith('ledger.'))).toBe(true);
    },
    TIMEOUT_MS,
  );

  it(
    'says of a plugin that does not which rule, what was seen and what to do: text, JSON, JUnit, a page',
    async () => {
      const path = plugin('never.mjs', half(''));
      const files = ['--junit', 'out.xml', '--html', 'out.html'];
      const { code, stdout } = await user.run('conform', path, '--only', 'life', 'transmit', ...files);
      expect(code).toBe(1);
      expect(stdout).toMatch(
        /broken {4}life\.attaches: .*\n {2}expected: .*\n {2}seen: .*it <never> comes up.*\n {2}to do: /,
      );
      expect(stdout).toMatch(/untested {2}life\.again: could not be tested: life\.attaches does not hold/);
      const read = (name: string): string => readFileSync(join(user.folder, name), 'utf8');
      expect(read('out.xml')).toMatch(/<testsuites tests="\d+" failures="\d+" skipped="\d+"/);
      expect(read('out.xml')).toMatch(/<failure message="expected: .*">.*it &lt;never&gt; comes up/s);
      expect(read('out.html')).toMatch(/<tr class="failed"><td>broken<\/td><td><code>/);
      expect(read('out.html')).toContain('it &lt;never&gt; comes up');
      const json = await user.run('conform', path, '--only', 'life.attaches', '--json');
      const { results } = JSON.parse(json.stdout) as { results: { finding: { todo: string } }[] };
      expect(results[0]!.finding.todo).not.toBe('');
    },
    TIMEOUT_MS,
  );

  it.each([
    [
      'is not there',
      '@netaccel/no-such-plugin',
      /no plugin @netaccel\/no-such-plugin was found .*npm install/,
    ],
    ['has no default export', plugin('none.mjs', 'export const x = 1;'), /has no default export; expected/],
    ['is something else', plugin('other.mjs', 'export default { hello: 1 };'), /expected a backend plugin/],
    [
      'throws when it is loaded',
      plugin('throws.mjs', 'throw new Error("boom");'),
      /threw while it was loaded.*boom/,
    ],
    [
      'is of tomorrow’s contract',
      plugin('late.mjs', half('contract: 99')),
      /contract version 99; this host speaks/,
    ],
    [
      'is for another device',
      plugin('alien.mjs', half('supports: () => false')),
      /does not support .*export `bench`/,
    ],
    [
      'has no front half',
      plugin('alone.mjs', half(`frontend: 'nobody-at-all'`)),
      /no plugin nobody-at-all was found/,
    ],
    ['is a front half alone', '@netaccel/dummy-accel-frontend', /is a front half; .*--backend NAME/],
  ])(
    'refuses a plugin that %s',
    async (_what, name, message) => {
      const { code, stdout, stderr } = await user.run('conform', name);
      expect(stderr).toMatch(message);
      expect(stdout).toBe('');
      expect(code).toBe(3);
      const json = await user.run('conform', name, '--json');
      expect(JSON.parse(json.stdout)).toMatchObject({
        error: { message: expect.stringMatching(message) as string },
      });
    },
    TIMEOUT_MS,
  );

  it(
    'lists the rules, and says so when none is meant',
    async () => {
      expect((await user.run('conform', '--list')).stdout).toMatch(/^life\.attaches +attaches: /m);
      const { code, stderr } = await user.run('conform', BACK, '--only', 'nonsense');
      expect([code, stderr]).toEqual([3, expect.stringMatching(/no rule begins with nonsense; .*--list/)]);
      expect((await user.run('conform')).code).toBe(3);
    },
    TIMEOUT_MS,
  );
});
