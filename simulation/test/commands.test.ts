/** The two commands as a user has them: wrong options, a fault that is found, cut down and replayed, and Ctrl-C. */
import { spawn } from 'node:child_process';
import {
  existsSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bundle } from '../bundle.mjs';
import type { FuzzCase } from '../src/fuzz-case.js';
import type { TraceFile } from '../src/trace.js';
import { hunt, plantedFaults } from '../planted.mjs';

const folder = mkdtempSync(join(tmpdir(), 'na-commands-'));
const TIMEOUT_MS = 120_000;
const faultCalled = (name: string) => plantedFaults.find((fault) => fault.name === name)!;

beforeAll(async () => {
  // What a bundle leaves outside is found as in the repository.
  symlinkSync(fileURLToPath(new URL('../../node_modules', import.meta.url)), join(folder, 'node_modules'));
  for (const [name, entry, faults] of [
    ['fuzz', 'fuzz', []],
    ['simulate', 'simulate', []],
    ['fuzz-planted', 'fuzz', [faultCalled('unmap-skipped')]],
    ['simulate-planted', 'simulate', [faultCalled('wrong-length')]],
  ] as const)
    writeFileSync(join(folder, `${name}.mjs`), await bundle(entry, faults));
}, TIMEOUT_MS);
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** Runs a program in a folder of the test's own; `interrupt` sends Ctrl-C when something was printed. */
function run(program: string, args: readonly string[], interrupt = false) {
  const child = spawn(process.execPath, [join(folder, `${program}.mjs`), ...args], { cwd: folder });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    if (interrupt && stderr === '') child.kill('SIGINT');
    stderr += text;
  });
  return new Promise<{ code: number | null; stdout: string; stderr: string }>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => {
      resolve({ code, stdout, stderr });
    });
  });
}

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

describe('what makes no sense is said in a line before anything runs, with exit code 2', () => {
  test.each([
    ['fuzz', ['--minutes', '0'], /^--minutes: expected a number above 0, saw "0"; see --help\n$/],
    ['fuzz', ['--minutes', 'x'], /^--minutes: .*saw "x"/],
    ['fuzz', ['--seed', '1.5'], /^--seed: expected a whole number from 0 on, saw "1.5"/],
    ['fuzz', ['--seed', ''], /^--seed: .*saw ""/],
    ['fuzz', ['--frobnicate'], /^Unknown option '--frobnicate'; see --help\n$/],
    ['fuzz', ['more'], /^Unexpected argument 'more'/],
    ['fuzz', ['--out', 'nowhere/failure.json'], /^--out: expected a file that can be written/],
    ['fuzz', ['--out', '.'], /^--out: expected a file that can be written, saw \.: it is a directory/],
    ['fuzz', ['--corpus', 'fuzz.mjs'], /^--corpus: expected a folder/],
    ['fuzz', ['--replay', 'nowhere.json'], /^--replay: expected a file that can be read, saw ENOENT/],
    ['simulate', ['--seeds', '0'], /^--seeds: expected a whole number from 1 on, saw "0"/],
    ['simulate', ['--first', '-'], /^--first/],
    ['simulate', ['--steps', '1e99'], /^--steps: expected a whole number from 1 on, saw "1e99"/],
    ['simulate', ['--trace', 'nowhere/trace.json'], /^--trace: expected a file that can be written/],
    ['simulate', ['--frobnicate'], /^Unknown option/],
  ] as const)('%s %j', async (program, args, says) => {
    const { code, stdout, stderr } = await run(program, args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(says);
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
  });

  test.each([
    ['{', /expected JSON/],
    ['[]', /expected an object/],
    ['{}', /peer: expected frontend or backend, saw undefined/],
    ['{"peer":"frontend"}', /seed: expected a whole number/],
    ['{"peer":"frontend","seed":1}', /operations: expected a list/],
    ['{"peer":"frontend","seed":1,"operations":[{"op":"opne"}]}', /saw {"op":"opne"} as number 0/],
    ['{"peer":"frontend","seed":1,"operations":[{"op":"advertise"}]}', /one of .*revoke, saw/],
    ['{"peer":"frontend","seed":1,"wishes":{},"operations":[]}', /wishes: expected/],
  ])('a file to replay that says %s', async (text, says) => {
    const { code, stdout, stderr } = await run('fuzz', ['--replay', file('case.json', text)]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(says);
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
  });

  test.each(['0', 'x', '1.5'])('a hunt for planted faults in %s seeds', async (seeds) => {
    const root = fileURLToPath(new URL('..', import.meta.url));
    const child = spawn(process.execPath, [join(root, 'run.mjs'), 'simulate', '--planted', '--seeds', seeds]);
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
    const code = await new Promise((resolve) => child.once('close', resolve));
    expect({ code, said }).toEqual({
      code: 2,
      said: `--seeds: expected a whole number from 1 on, saw "${seeds}"; see --help\n`,
    });
  });
});

test('a run that ended without a report finds no planted fault', async () => {
  await expect(hunt(faultCalled('wrong-length'), 0)).rejects.toThrow(
    'wrong-length: the run ended with 2 and no report: --seeds: expected a whole number from 1 on',
  );
});

test(
  'the fuzzer finds a planted fault, cuts it down to a file, and the file shows it again, and not without the fault',
  async () => {
    const out = join(folder, 'found.json');
    const found = await run('fuzz-planted', ['--stop', '--out', out, '--json']);
    expect(found.code).toBe(1);
    expect(found.stderr).toMatch(
      /^seed \d+, leak: domain 0 holds something after the end: .*"mappings":[1-9]/m,
    );
    expect(found.stderr).toContain(`again: npm run fuzz -- --replay ${out}`);
    const [, before, after] = /cut down from (\d+) operations to (\d+)/.exec(found.stderr)!;
    expect(Number(after)).toBeLessThan(Number(before));
    expect(JSON.parse(found.stdout)).toMatchObject({ failures: 1, found: { leak: 1, crash: 0 } });
    const kept = JSON.parse(readFileSync(out, 'utf8')) as FuzzCase;
    // Rings that are opened, and a connection: it takes no more to map them.
    expect(kept.operations.map(({ op }) => op)).toEqual(['open', 'connect']);

    const again = await run('fuzz-planted', ['--replay', out]);
    expect(again.code).toBe(1);
    expect(again.stdout).toMatch(/found\.json: leak: domain 0 holds something/);
    const mended = await run('fuzz', ['--replay', out, '--json']);
    expect(mended.code).toBe(0);
    expect(JSON.parse(mended.stdout)).toMatchObject({ wrong: null, failure: null });
  },
  TIMEOUT_MS,
);

test(
  'a corpus gets the cases that reach something new, and only those',
  async () => {
    const corpus = join(folder, 'corpus');
    const fuzz = ['--minutes', '0.02', '--seed', '100', '--corpus', corpus, '--json'];
    expect((await run('fuzz', fuzz)).code).toBe(0);
    const kept = readdirSync(corpus);
    expect(kept.length).toBeGreaterThan(3);
    // Seed 100 again: what it reaches is known by now.
    expect((await run('fuzz', ['--minutes', '0.00001', ...fuzz.slice(2)])).code).toBe(0);
    expect(readdirSync(corpus)).toEqual(kept);
    writeFileSync(join(corpus, 'broken.json'), '{}');
    const { code, stderr } = await run('fuzz', fuzz);
    expect({ code, stderr }).toEqual({
      code: 2,
      stderr: `--corpus ${join(corpus, 'broken.json')}: peer: expected frontend or backend, saw undefined; see --help\n`,
    });
  },
  TIMEOUT_MS,
);

test(
  'a failing seed says how to run it again, what was done in it, and leaves its trace',
  async () => {
    const { code, stderr } = await run('simulate-planted', ['--stop', '--seeds', '20', '--steps', '200']);
    expect(code).toBe(1);
    const [, seed] = /^seed (\d+), step \d+: /m.exec(stderr)!;
    expect(stderr).toContain(
      `again: npm run simulate -- --first ${seed} --seeds 1 --steps 200 --trace trace.json`,
    );
    const name = `simulate-seed-${seed}.json`;
    expect(stderr).toContain(`trace: ${name}`);
    expect(stderr).toMatch(/^ {4}\d+\.\d+ ms failure {"what":/m);
    const trace = JSON.parse(readFileSync(join(folder, name), 'utf8')) as TraceFile;
    expect(trace.otherData).toMatchObject({ seed: Number(seed) });
    expect(trace.traceEvents.filter(({ ph }) => ph === 'X').length).toBeGreaterThan(10);

    // And the command that it printed does so.
    const again = ['--first', seed!, '--seeds', '1', '--steps', '200', '--trace', 'trace.json', '--json'];
    const second = await run('simulate-planted', again);
    expect(second.code).toBe(1);
    expect(JSON.parse(second.stdout)).toMatchObject({
      failures: [{ seed: Number(seed) }],
      trace: 'trace.json',
    });
    expect(existsSync(join(folder, 'trace.json'))).toBe(true);
  },
  TIMEOUT_MS,
);

test.each([
  ['fuzz', ['--minutes', '100'], /^stopped by Ctrl-C: \d+ operations? in \d+ cases?, /],
  ['simulate', ['--seeds', '100000', '--steps', '200'], /^stopped by Ctrl-C: \d+ seeds?, /],
] as const)(
  'Ctrl-C ends %s with its report',
  async (program, args, says) => {
    const { code, stdout } = await run(program, args, true);
    expect(stdout).toMatch(says);
    expect(code).toBe(130);
  },
  TIMEOUT_MS,
);
