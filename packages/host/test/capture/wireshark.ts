/** Wireshark's tools, which must read our files without complaint; tests that need them skip where they are missing. */
import { spawnSync } from 'node:child_process';
import { expect } from 'vitest';

const missing = ['tshark', 'capinfos', 'editcap'].filter(
  (tool) => spawnSync(tool, ['--version'], { stdio: 'ignore' }).error !== undefined,
);

/** Why a test is skipped. */
export const reason = `${missing.join(', ')} not installed; try \`apt-get install tshark\``;
/** Whether a tool is missing. */
export const isMissing = missing.length > 0;

/** Runs a tool, which must not complain. */
export function run(tool: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(tool, args, { encoding: 'utf8', maxBuffer: 2 ** 26 });
  const complaint = stderr.replace(/^Running as user.*$/gm, '').trim();
  expect({ status, complaint }).toEqual({ status: 0, complaint: '' });
  return stdout;
}

/** Fields of each frame, as tshark calls them. */
export function fields(path: string, ...names: string[]): string[][] {
  const wanted = names.flatMap((name) => ['-e', name]);
  const out = run('tshark', '-r', path, '-T', 'fields', '-E', 'separator=|', ...wanted);
  return out
    .trimEnd()
    .split('\n')
    .map((line) => line.split('|'));
}
