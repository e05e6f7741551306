// Builds, runs every package's tests in one vitest run, and prints `N passed, N failed` as its last line.
// Further arguments go to vitest: `npm test -- --project netfront`.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const require = createRequire(import.meta.url);

/** @param {string[]} args */
function node(args) {
  const result = spawnSync(process.execPath, args, { stdio: 'inherit', cwd: root });
  if (result.error) throw result.error;
  return result.status ?? 1;
}

/**
 * Counts tests. A file that failed before its first test counts as one failure.
 * @param {string} reportFile
 */
function count(reportFile) {
  /** @type {{ numPassedTests: number, numFailedTests: number, numPendingTests: number,
   *   testResults: { status: string, assertionResults: { status: string }[] }[] }} */
  const report = JSON.parse(readFileSync(reportFile, 'utf8'));
  const brokenFiles = report.testResults.filter(
    (file) => file.status === 'failed' && !file.assertionResults.some((test) => test.status === 'failed'),
  ).length;
  return {
    passed: report.numPassedTests,
    failed: report.numFailedTests + brokenFiles,
    skipped: report.numPendingTests,
  };
}

function run() {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  let status = node([join(root, 'scripts/turbo.mjs'), 'run', 'build', '--output-logs=errors-only']);
  if (status !== 0) {
    console.error('The build failed; no test was run.');
    return { status, counts };
  }
  const folder = mkdtempSync(join(tmpdir(), 'netaccel-test-'));
  const reportFile = join(folder, 'report.json');
  try {
    const vitest = join(dirname(require.resolve('vitest/package.json')), 'vitest.mjs');
    status = node([
      vitest,
      'run',
      '--reporter=default',
      '--reporter=json',
      `--outputFile.json=${reportFile}`,
      ...process.argv.slice(2),
    ]);
    Object.assign(counts, count(reportFile));
  } catch (error) {
    console.error('vitest left no report:', error);
    status ||= 1;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return { status, counts };
}

const { status, counts } = run();
// An error outside any test (or a broken build) fails the run, so the line has to say so too.
if (status !== 0 && counts.failed === 0) counts.failed = 1;
if (counts.skipped > 0) console.log(`${counts.skipped} skipped`);
console.log(`${counts.passed} passed, ${counts.failed} failed`);
process.exitCode = counts.failed > 0 ? status || 1 : 0;
