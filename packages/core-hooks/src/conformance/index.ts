/**
 * The conformance kit: everything that a plugin can be held to, from the capabilities that it declares. One call lists
 * the checks with any test runner; another runs them and answers a report, which is what `netaccel conform` prints.
 *
 * @packageDocumentation
 */
import { titleOf } from './rule.js';
import type { Capabilities } from '../capabilities.js';
import { Session, rulesInOrder } from './run.js';
import type { ConformanceOptions } from './run.js';
import type { ConformanceFactory } from './subject.js';
import { UntestedError } from './rule.js';

export { ConformanceError, UntestedError } from './rule.js';
export type { Finding } from './rule.js';
export { runConformance } from './run.js';
export type { ConformanceOptions, ConformanceReport, RuleResult, Status } from './run.js';
export type {
  Bench,
  BenchFault,
  BenchMachine,
  ConformanceFactory,
  ConformanceSubject,
  Receiver,
} from './subject.js';

/** What a test runner calls: `test` of vitest, node:test and jest, `it` of mocha. The number is a time-out in ms. */
export type TestFunction = (name: string, check: () => Promise<void>, timeoutMs?: number) => unknown;

const TIMEOUT_MS = 120_000;

/**
 * Lists the checks: one test for each rule.
 *
 * @param test the runner's function.
 * @param factory makes what is judged; called once now, and once in each check.
 * @param options as for {@link runConformance}.
 *
 * @example
 * ```ts
 * import { conformance } from '@netaccel/core-hooks/conformance';
 * import { nicBench } from '@netaccel/nic-vi/testing';
 * import { test } from 'vitest';
 *
 * conformance(test, () => ({ frontend, backend, bench: nicBench() }));
 * ```
 */
export function conformance(
  test: TestFunction,
  factory: ConformanceFactory,
  options: Omit<ConformanceOptions, 'onResult'> = {},
): void {
  const session = new Session(factory, options.seed ?? 1, options.effort ?? 1);
  const { capabilities } = factory().frontend;
  for (const rule of rulesInOrder(options.only))
    test(
      `${rule.id}: ${titleOf(rule, capabilities)}`,
      async () => {
        try {
          await session.check(rule);
        } catch (error) {
          // The rule that it needs fails by itself; what could not be tested is no second failure.
          if (!(error instanceof UntestedError)) throw error;
        }
      },
      TIMEOUT_MS,
    );
}

/** Every rule: its id, its promise for a plugin that can do `can`, and where the contract says so. */
export function conformanceRules(can: Capabilities = {}): { id: string; title: string; docs: string }[] {
  return rulesInOrder().map((rule) => ({ id: rule.id, title: titleOf(rule, can), docs: rule.docs }));
}
