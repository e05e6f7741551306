// A hundred moves of a guest with a TCP connection open, in a lab of worker threads with the kernel's network stacks:
// scripts/migration-loop.mjs, held to its figures. Bytes are checked one by one at the receiver.
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { probeTap } from '@netaccel/host';
import { expect, it } from 'vitest';

const LOOP = fileURLToPath(new URL('../scripts/migration-loop.mjs', import.meta.url));
const probe = await probeTap();

interface Outcome {
  readonly bytesSent: number;
  readonly held: readonly Readonly<Record<string, unknown>>[];
}

it(
  'a hundred moves under TCP: no byte is lost or wrong, and no domain holds anything at the end',
  { timeout: 300_000 },
  async (context) => {
    if (!probe.available) context.skip(`${probe.detail} ${probe.remedy}`);
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [LOOP, '--rounds', '100']);
    expect(stderr).toBe('');
    const outcome = JSON.parse(stdout) as Outcome;
    expect(outcome).toMatchObject({ rounds: 100, lost: 0, announced: 100, corrupted: 0 });
    expect(outcome).toMatchObject({ bytesReceived: outcome.bytesSent });
    expect(outcome.bytesSent).toBeGreaterThan(0);
    const nothing = {
      pages: 0,
      grants: 0,
      mappings: 0,
      ports: 0,
      watches: 0,
      timers: 0,
      tasks: 0,
      frames: 0,
    };
    expect(outcome.held).toEqual([
      { host: 'alpha', guest: null, ...nothing },
      { host: 'beta', guest: null, ...nothing },
      { host: 'gamma', guest: null, ...nothing },
      { host: 'beta', guest: 'b', ...nothing },
      { host: 'gamma', guest: 'a', ...nothing },
    ]);
  },
);
