/** Guests as real Linux network stacks: needs TAP devices and namespaces, and says so when they are missing. */
import { readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { TestContext } from 'vitest';
import { probeTap } from '../../src/tap/index.js';
import { CompiledPrograms, nobodyObstacle, output } from './compiled.js';
import type { RunAs } from './compiled.js';
import type { HolderReport } from './programs/holder.js';
import type { ClosingReport } from './programs/closing.js';
import type { TransferReport } from './programs/transfer.js';

const MEBIBYTES = 16;
const TIMEOUT_MS = 60_000;
const AT_ONCE = { interval: 1, timeout: 5_000 };
const STAGES = ['namespace', 'tap', 'program'] as const;

const probe = await probeTap();
const noNobody = nobodyObstacle();
const users: RunAs[] = ['self', 'nobody'];
let programs: CompiledPrograms;

beforeAll(() => {
  programs = new CompiledPrograms();
});
afterAll(() => programs.remove());

function skipIfImpossible(context: TestContext, as: RunAs): void {
  if (!probe.available) context.skip(`${probe.detail} ${probe.remedy}`);
  if (as === 'nobody' && noNobody !== undefined) context.skip(noNobody);
}

async function transfer(as: RunAs, mebibytes: number): Promise<TransferReport> {
  const { stdout, stderr, code } = await output(programs.start('transfer', [String(mebibytes)], as));
  expect({ stderr, code }).toEqual({ stderr: '', code: 0 });
  return JSON.parse(stdout) as TransferReport;
}

function alive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

function processesIn(kernelName: string): string[] {
  return readdirSync('/proc').filter((entry) => {
    try {
      return readlinkSync(`/proc/${entry}/ns/net`) === kernelName;
    } catch {
      return false;
    }
  });
}

describe.each(users)('a lab of two guests, run as %s', (as) => {
  test(
    'carries TCP unchanged over IPv4 and IPv6, and leaves nothing behind',
    { timeout: TIMEOUT_MS },
    async (context) => {
      skipIfImpossible(context, as);
      const report = await transfer(as, MEBIBYTES);

      expect(report.uidMap).toMatch(as === 'nobody' ? /^0 65534 1$/ : /^\d+ \d+ \d+$/);
      expect(report.transfers).toHaveLength(2);
      for (const { sent, received } of report.transfers) {
        expect(received.bytes).toBe(MEBIBYTES * 2 ** 20);
        expect(received.sha256).toBe(sent.sha256);
      }
      expect(report.forwarded).toHaveLength(2);
      for (const { read, written } of report.forwarded) {
        expect(read.framesRead).toBeGreaterThan(0);
        expect(read).toMatchObject({ readTooLarge: 0, readFailed: 0, lastRefusal: '' });
        expect(written.framesWritten + written.writeRefused).toBe(read.framesRead);
        expect(written.writeRefused).toBe(0);
      }
      // The sending kernel left segmentation to us.
      expect(report.forwarded[0]?.segmented).toBeGreaterThan(0);

      expect(report.during.map(({ name, taps, processes }) => [name, taps, processes.length])).toEqual([
        ['guest-a', ['eth0'], 1],
        ['guest-b', ['eth0'], 1],
      ]);
      expect(report.descriptorsAfter).toEqual(report.descriptorsBefore);
      expect(report.namespaceAfter).toBe(report.namespaceBefore);
      expect(report.namespacesAfter).toEqual([]);
      for (const { kernelName } of report.during) expect(processesIn(kernelName)).toEqual([]);
    },
  );

  const endings = STAGES.flatMap((stage) =>
    (['SIGINT', 'SIGKILL'] as const).map((signal) => [signal, stage] as const),
  );
  test.for(endings)(
    'ended by %s at the stage "%s" takes everything with it',
    { timeout: TIMEOUT_MS },
    async ([signal, stage], context) => {
      skipIfImpossible(context, as);
      const holder = programs.start('holder', [stage], as);
      const said = output(holder);
      const first = await Promise.race([
        new Promise<string>((resolve) =>
          holder.stdout?.once('data', (data: Buffer) => resolve(data.toString())),
        ),
        said.then(({ stderr }) => Promise.reject(new Error(`the holder ended: ${stderr}`))),
      ]);
      const report = JSON.parse(first) as HolderReport;
      // It replaced itself and is still the process that was started.
      expect(report.pid).toBe(holder.pid);
      expect(report.programs).toHaveLength(stage === 'program' ? 1 : 0);

      holder.kill(signal);
      // The output closes when the last process that holds it is gone.
      await said;

      expect(holder.signalCode).toBe(signal);
      // A process closes its output a moment before it is gone.
      await expect.poll(() => [report.pid, ...report.programs].filter(alive), AT_ONCE).toEqual([]);
      expect(processesIn(report.kernelName)).toEqual([]);
    },
  );

  test(
    'closes in one call, whatever runs in it, and refuses what cannot be',
    { timeout: TIMEOUT_MS },
    async (context) => {
      skipIfImpossible(context, as);
      const { stdout, stderr, code } = await output(programs.start('closing', [], as));
      expect({ stderr, code }).toEqual({ stderr: '', code: 0 });
      expect(JSON.parse(stdout)).toEqual({
        running: { taps: ['eth0'], processes: 2 },
        closed: { namespaces: 0, processes: 0 },
        refusals: {
          sameName: 'BAD_VALUE',
          sameInterface: 'SYSTEM_CALL EBUSY',
          badAddress: 'BAD_VALUE',
          badMtu: 'SYSTEM_CALL EINVAL',
          unknownCommand: 'exit 127',
          throwing: 'Error',
          closedNamespace: 'CLOSED',
          closedSet: 'CLOSED',
        },
        tapsAfterRefusals: ['eth0'],
        atHome: true,
        descriptorsLeft: 0,
      } satisfies ClosingReport);
    },
  );
});
