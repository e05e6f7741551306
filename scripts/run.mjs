// Programs that a script starts: one that ends is awaited, with its output in the error when it fails; one that goes on
// is stopped with all others at the end, whatever happened.
import { spawn } from 'node:child_process';

/** @typedef {{ cwd?: string, env?: NodeJS.ProcessEnv, timeoutMs?: number }} RunOptions */
/** @typedef {{ child: import('node:child_process').ChildProcess, stdout: () => string, output: () => string, ended: Promise<number | null> }} Program */

/** Longest time for one program. */
const TIMEOUT_MS = 180_000;
/** Lines of a failed program's output that are shown. */
const SHOWN_LINES = 60;

/** @type {Set<Program>} */
const running = new Set();
let stopped = false;

/**
 * Starts a program.
 * @param {string} command
 * @param {readonly string[]} args
 * @param {RunOptions} [options]
 * @returns {Program}
 */
export function start(command, args, options = {}) {
  if (stopped) throw new Error(`${command} was not started: everything was stopped`);
  const child = spawn(command, args, {
    cwd: options.cwd,
    env: { ...process.env, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text) => ((stdout += text), (output += text)));
  child.stderr.setEncoding('utf8').on('data', (text) => (output += text));
  /** @type {Promise<number | null>} */
  const ended = new Promise((resolve) => {
    child.once('error', (error) => {
      output += `\n${String(error)}`;
      resolve(null);
    });
    child.once('close', resolve);
  });
  const program = { child, stdout: () => stdout, output: () => output, ended };
  running.add(program);
  void ended.then(() => running.delete(program));
  return program;
}

/**
 * Runs a program to its end.
 * @param {string} command
 * @param {readonly string[]} args
 * @param {RunOptions} [options]
 * @returns {Promise<string>} what it wrote to its standard output
 */
export async function run(command, args, options = {}) {
  const program = start(command, args, options);
  const timer = setTimeout(() => program.child.kill('SIGTERM'), options.timeoutMs ?? TIMEOUT_MS);
  const status = await program.ended;
  clearTimeout(timer);
  if (status === 0) return program.stdout();
  const shown = program.output().trimEnd().split('\n').slice(-SHOWN_LINES).join('\n');
  const how = status === null ? 'was ended or did not start' : `ended with status ${status}`;
  throw new Error(`${command} ${args.join(' ')} ${how}; it said:\n${shown}`);
}

/** Stops every program that still runs, and lets no other start. */
export async function stopAll() {
  stopped = true;
  await Promise.all(
    [...running].map((program) => {
      program.child.kill('SIGTERM');
      return program.ended;
    }),
  );
}
