// The kit itself: each broken plugin is found by the rule that it breaks, by no other, and by no crash.
import { describe, expect, test } from 'vitest';
import { conformanceRules, runConformance } from '../../src/conformance/index.js';
import { rules } from '../../src/conformance/rules/index.js';
import { brokenCarries } from './broken-carry.js';
import { brokenLives } from './broken-life.js';
import { brokenPolicies } from './broken-policy.js';
import { brokenReceives } from './broken-receive.js';
import { brokenRest } from './broken-rest.js';
import { brokenTransmits } from './broken-transmit.js';

const broken = [
  ...brokenLives,
  ...brokenTransmits,
  ...brokenCarries,
  ...brokenReceives,
  ...brokenPolicies,
  ...brokenRest,
];

/** Of the rules of other groups, one in so many is held against a broken plugin; together, the plugins meet all. */
const SAMPLE = 4;

/** The rules that a broken plugin is held to: its rule's group, and a sample of the others. */
function heldAgainst(rule: string, number: number): string[] {
  // What every check watches over may be seen by any of them.
  if (rules.find(({ id }) => id === rule)?.watched === true) return rules.map(({ id }) => id);
  const group = rule.slice(0, rule.indexOf('.') + 1);
  const held = rules.filter(({ id }, i) => id.startsWith(group) || i % SAMPLE === number % SAMPLE);
  // With those that they need: a rule whose need is broken is not judged.
  return held.flatMap(({ id, needs = [] }) => [id, ...needs]);
}

describe('a plugin that', () => {
  test.each(broken.map((each, i) => [each.fault, each.rule, each.make, i] as const))(
    '%s breaks %s, and nothing else',
    async (_fault, rule, make, i) => {
      const made = make();
      const report = await runConformance(() => made, {
        effort: rule === 'life.any-moment' ? 0.01 : 0.03,
        only: heldAgainst(rule, i),
      });
      const failed = report.results.filter(({ status }) => status === 'failed');
      expect(
        failed.map(({ id, message }) => `${id} ${message ?? ''}`).filter((each) => !each.startsWith(rule)),
      ).toEqual([]);
      expect(failed.map(({ id }) => id)).toEqual([rule]);
      expect(failed[0]!.error).toMatchObject({ name: 'ConformanceError', rule });
      expect(failed[0]!.message).toMatch(
        /expected: .+\n +seen: .+\n +to do: .+\n +read: +node_modules\/@netaccel\/core-hooks\/dist\/docs\//,
      );
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
