// The kit itself: each broken plugin is found by the rule that it breaks, by no other, and by no crash.
import { describe, expect, test } from 'vitest';
import { conformanceRules, runConformance } from '../../src/conformance/index.js';
import { brokenLives } from './broken-life.js';
import { brokenRest } from './broken-rest.js';
import { brokenTransmits } from './broken-transmit.js';

const broken = [...brokenLives, ...brokenTransmits, ...brokenRest];

describe('a plugin that', () => {
  test.each(broken.map((each) => [each.fault, each.rule, each.make] as const))(
    '%s breaks %s, and nothing else',
    async (_fault, rule, make) => {
      const made = make();
      const report = await runConformance(() => made, {
        effort: rule === 'life.any-moment' ? 0.1 : 0.03,
      });
      const failed = report.results.filter(({ status }) => status === 'failed');
      expect(
        failed.map(({ id, message }) => `${id} ${message ?? ''}`).filter((each) => !each.startsWith(rule)),
      ).toEqual([]);
      expect(failed.map(({ id }) => id)).toEqual([rule]);
      expect(failed[0]!.error).toMatchObject({ name: 'ConformanceError', rule });
      expect(failed[0]!.message).toMatch(/expected: .+\n +seen: .+\n +to do: .+\n +read: +docs\//);
      expect(report.conforms).toBe(false);
    },
    120_000,
  );

  test('breaks a rule is there for each rule', () => {
    const held = new Set(broken.map(({ rule }) => rule));
    expect(
      conformanceRules()
        .filter(({ id }) => !held.has(id))
        .map(({ id }) => id),
    ).toEqual([]);
  });
});
