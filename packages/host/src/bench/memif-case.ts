/** DPDK memif, process to process on two cores: what the slow path on workers is held against. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CaseUnavailable } from './case.js';
import type { BenchCase } from './case.js';

const SECONDS = 5;
const START_MS = 3000;

/** Frames of one size, one process sends, the other receives. */
export function memifCase(size: number): BenchCase {
  return {
    name: `memif-${size}`,
    what: `${size} B frames between two dpdk-testpmd processes over memif`,
    run: async () => {
      const folder = mkdtempSync(join(tmpdir(), 'netaccel-memif-'));
      const running: ChildProcess[] = [];
      try {
        const receiver = testpmd(folder, 0, 'server', 'rxonly', []);
        running.push(receiver.process);
        await Promise.race([pause(START_MS), receiver.failed]);
        const sender = testpmd(folder, 1, 'client', 'txonly', [`--txpkts=${size}`]);
        running.push(sender.process);
        await Promise.race([pause(SECONDS * 1000), sender.failed]);
        sender.process.stdin!.write('stop\nquit\n');
        const text = await sender.output;
        const sent = /TX-packets:\s+(\d+)/.exec(text)?.[1];
        if (sent === undefined) throw new Error(`dpdk-testpmd printed no count: ${text.slice(-300)}`);
        return { mpps: Number(sent) / SECONDS / 1e6, nsPerFrame: (SECONDS * 1e9) / Number(sent) };
      } finally {
        for (const child of running) child.kill('SIGKILL');
        rmSync(folder, { recursive: true, force: true });
      }
    },
  };
}

interface Running {
  readonly process: ChildProcess;
  readonly output: Promise<string>;
  readonly failed: Promise<never>;
}

function testpmd(folder: string, core: number, role: string, mode: string, more: readonly string[]): Running {
  const child = spawn(
    'dpdk-testpmd',
    [
      `--lcores=0@${core},1@${core}`,
      '--no-huge',
      '-m',
      '512',
      '--no-pci',
      `--file-prefix=${role}${process.pid}`,
      `--vdev=net_memif0,role=${role},socket=${folder}/s,socket-abstract=no,id=0`,
      '--',
      '-i',
      '--nb-cores=1',
      `--forward-mode=${mode}`,
      '--auto-start',
      '--total-num-mbufs=8192',
      ...more,
    ],
    { stdio: ['pipe', 'pipe', 'ignore'] },
  );
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  const output = new Promise<string>((resolve) => {
    child.once('close', () => {
      resolve(text);
    });
  });
  const failed = new Promise<never>((_, reject) => {
    child.once('error', () => {
      reject(new CaseUnavailable('dpdk-testpmd is not installed; on Debian it is in the package dpdk-dev'));
    });
  });
  failed.catch(() => undefined); // raced with the time that it needs
  return { process: child, output, failed };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, ms));
}
