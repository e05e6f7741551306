/** Runs the built `netaccel` as a user would, with control sockets in a folder of the test's own. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const CLI = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));

/** How a command ended. */
export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A command that runs. */
export interface Running {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  /** What it has printed so far. */
  output(): { stdout: string; stderr: string };
}

/** A user with a folder of its own. */
export class User {
  /** Where its labs' sockets are, and its files. */
  readonly folder = mkdtempSync(join(tmpdir(), 'na-'));

  /** Starts a command. */
  start(...args: string[]): Running {
    return this.startWith({}, args);
  }

  /** Runs a command to its end in an environment that differs from this one. */
  runWith(environment: Record<string, string>, ...args: string[]): Promise<Ended> {
    return this.startWith(environment, args).ended;
  }

  private startWith(environment: Record<string, string>, args: readonly string[]): Running {
    const child = spawn(process.execPath, [CLI, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, NETACCEL_CONTROL_DIR: join(this.folder, 'c'), NO_COLOR: '1', ...environment },
      cwd: this.folder,
    });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    const ended = new Promise<Ended>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code, signal) => {
        resolve({ code, signal, stdout, stderr });
      });
    });
    return { child, ended, output: () => ({ stdout, stderr }) };
  }

  /** Runs a command to its end. */
  run(...args: string[]): Promise<Ended> {
    return this.start(...args).ended;
  }

  /** The same for one that prints JSON; its exit code has to be 0. */
  async json<T>(...args: string[]): Promise<T> {
    const { code, stdout, stderr } = await this.run(...args);
    if (code !== 0)
      throw new Error(`netaccel ${args.join(' ')} ended with ${String(code)}: ${stderr}${stdout}`);
    return JSON.parse(stdout) as T;
  }

  /** Removes the folder. */
  leave(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
