/** The trace of a run against Chrome's trace event format (JSON object form). */
import { expect, test } from 'vitest';
import { run } from '../src/run.js';
import { scenarioOf } from '../src/scenario.js';

test('a trace is what a timeline viewer reads', async () => {
  const { trace, steps } = await run(scenarioOf(3, 300), { trace: true });
  const file = JSON.parse(JSON.stringify(trace)) as NonNullable<typeof trace>;
  expect(file.displayTimeUnit).toBe('ns');
  const threads = new Set<string>();
  const named = new Set<string>();
  const ends = new Map<string, number>();
  let slices = 0;
  for (const event of file.traceEvents) {
    expect(typeof event.name).toBe('string');
    expect(Number.isInteger(event.pid) && Number.isInteger(event.tid)).toBe(true);
    expect(Number.isFinite(event.ts) && event.ts >= 0).toBe(true);
    const thread = `${event.pid}.${event.tid}`;
    if (event.ph === 'M') {
      expect(['process_name', 'thread_name']).toContain(event.name);
      expect(typeof event.args?.['name']).toBe('string');
      named.add(thread);
      continue;
    }
    threads.add(thread);
    if (event.ph === 'i') {
      expect(event.s).toBe('g');
      continue;
    }
    expect(event.ph).toBe('X');
    expect(event.dur).toBeGreaterThan(0);
    // Slices of one thread must nest or follow each other: here they follow.
    expect(Math.round(event.ts * 1000)).toBeGreaterThanOrEqual(ends.get(thread) ?? 0);
    ends.set(thread, Math.round((event.ts + event.dur!) * 1000));
    slices++;
  }
  expect([...threads].filter((thread) => !named.has(thread))).toEqual([]);
  expect(slices).toBeGreaterThan(300);
  expect(slices).toBeLessThanOrEqual(steps);
}, 60_000);
