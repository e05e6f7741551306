/**
 * One processor for what is compared. The processors of a virtual machine are not equally fast (on a machine of two,
 * one was seen to take 1.6 times as long as the other), and a case that lands on the slower one says nothing about
 * a case that does not.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** The first processor that this process may run on; null where nothing can be bound to it (needs Linux and taskset). */
export function firstProcessor(): number | null {
  try {
    const list = /^Cpus_allowed_list:\s*(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'));
    if (list === null) return null;
    const processor = Number(list[1]);
    return spawnSync('taskset', ['-c', String(processor), 'true']).status === 0 ? processor : null;
  } catch {
    return null; // no /proc
  }
}

/** A command line that runs on one processor only. */
export function bound(processor: number, command: readonly string[]): string[] {
  return ['taskset', '-c', String(processor), ...command];
}
