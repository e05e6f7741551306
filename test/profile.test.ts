// `npm run profile`: each sample is of a line of a source file, inlined or not, and all of them make up the frame's time.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const PROFILE = fileURLToPath(new URL('../bench/profile.mjs', import.meta.url));
const PACKAGES = new URL('../packages/', import.meta.url);

interface Row {
  readonly file: string;
  readonly ns: readonly number[];
}

function profile(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [PROFILE, ...args], { encoding: 'utf8' });
}

describe('the profile of a case', () => {
  it('names lines of source files that are there, and adds up', () => {
    const { status, stdout, stderr } = profile('traffic-64', '--json', '--lines', '--stretches', '200');
    expect(stderr).toBe('traffic-64 …\n');
    expect(status).toBe(0);
    const { results } = JSON.parse(stdout) as { results: Row[] };
    const lines = results.filter(({ file }) => file.includes(':'));
    for (const { file } of lines) {
      const [path, line] = file.split(':');
      const [packageName, ...rest] = path!.split('/');
      const source = new URL(`${packageName}/src/${rest.join('/')}`, PACKAGES);
      expect(existsSync(source), file).toBe(true);
      expect(readFileSync(source, 'utf8').split('\n').length, file).toBeGreaterThanOrEqual(Number(line));
    }
    // The source of the frames and their check are all that this case is made of.
    const sum = (rows: readonly Row[]): number => rows.reduce((ns, row) => ns + row.ns[0]!, 0);
    expect(sum(lines.filter(({ file }) => file.startsWith('host/traffic/')))).toBeGreaterThan(
      sum(results) / 2,
    );
  });

  it('says what is wrong with a name', () => {
    const { status, stderr } = profile('no-such-case');
    expect(status).toBe(1);
    expect(stderr).toContain('no case no-such-case');
    expect(stderr).not.toContain('    at ');
  });
});
