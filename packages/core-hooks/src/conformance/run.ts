/**
 * Runs rules: one by one with a runner's `test`, or all of them with a report. Each check gets a lab of its own; a
 * rule that every check watches over is judged last, with what any of them saw.
 */
import type { FlatMemory } from '../testing/flat-memory.js';
import { Lab } from './lab.js';
import { ConformanceError, UntestedError, titleOf } from './rule.js';
import type { Rule } from './rule.js';
import { rules } from './rules/index.js';
import type { ConformanceFactory } from './subject.js';

/** How a rule came out. */
export type Status = 'passed' | 'failed' | 'untested';

/** One rule's result. */
export interface RuleResult {
  /** The rule. */
  readonly id: string;
  /** Its promise. */
  readonly title: string;
  /** Where the contract says so. */
  readonly docs: string;
  readonly status: Status;
  /** What was found, for a rule that failed; why, for one that could not be tested. */
  readonly message: string | null;
  /** The failure itself; null unless it failed. */
  readonly error: Error | null;
  /** Milliseconds that the check took. */
  readonly ms: number;
}

/** All rules' results. */
export interface ConformanceReport {
  /** Names and versions of the two halves. */
  readonly frontend: string;
  readonly backend: string;
  /** Seed of what was random. */
  readonly seed: number;
  readonly results: readonly RuleResult[];
  readonly passed: number;
  readonly failed: number;
  readonly untested: number;
  /** No rule failed, and each could be tested. */
  readonly conforms: boolean;
}

/** What a run may be told. */
export interface ConformanceOptions {
  /** Seed of everything random; 1 when left out. */
  readonly seed?: number;
  /** How much of what is tried many times: 1 when left out, 0.1 for a tenth. */
  readonly effort?: number;
  /** Ids of rules, or what they begin with; all when left out. */
  readonly only?: readonly string[];
  /** Told each result as it is there. */
  readonly onResult?: (result: RuleResult) => void;
}

/** A run of rules over one plugin, with what their checks saw besides. */
export class Session {
  private readonly seen = new Map<string, string>();
  private readonly judged = new Set<string>();
  private readonly broken = new Set<string>();
  private readonly untested = new Set<string>();
  private readonly memories: FlatMemory[] = [];

  constructor(
    private readonly factory: ConformanceFactory,
    private readonly seed: number,
    private readonly effort: number,
  ) {}

  /**
   * Checks one rule.
   * @throws ConformanceError, {@link UntestedError}
   */
  async check(rule: Rule): Promise<void> {
    const unmet = rule.needs?.find((id) => this.broken.has(id) || this.untested.has(id));
    if (unmet !== undefined) {
      this.untested.add(rule.id);
      throw new UntestedError(unmet);
    }
    const lab = new Lab(rule, this.factory(), this.seed, this.effort, this.memories);
    let error: unknown = null;
    try {
      await rule.check(lab);
      await lab.end();
    } catch (caught) {
      error = caught;
      await lab.end();
    }
    for (const breach of lab.breaches)
      if (!this.seen.has(breach.rule)) this.seen.set(breach.rule, breach.seen);
    this.judged.add(rule.id);
    error ??= this.breach(rule);
    if (error === null) return;
    if (error instanceof ConformanceError) this.broken.add(error.rule);
    if (error instanceof UntestedError) this.untested.add(rule.id);
    throw error as Error;
  }

  /** What any check so far saw of a watched rule: this one's, or one's that was judged before it was seen. */
  private breach(rule: Rule): ConformanceError | null {
    for (const watched of rules) {
      const seen = this.seen.get(watched.id);
      if (seen === undefined || this.broken.has(watched.id)) continue;
      if (watched.id !== rule.id && !this.judged.has(watched.id)) continue;
      return new ConformanceError(
        watched.id,
        {
          expected: `the plugin ${titleOf(watched, this.factory().frontend.capabilities)}`,
          seen,
          todo: advice(watched.id),
        },
        watched.docs,
      );
    }
    return null;
  }
}

/** Rules in the order in which they are judged: those that others need first, those that all watch over last. */
export function rulesInOrder(only?: readonly string[]): readonly Rule[] {
  const wanted = (rule: Rule): boolean => only === undefined || only.some((id) => rule.id.startsWith(id));
  return [
    ...rules.filter((rule) => rule.watched !== true),
    ...rules.filter((rule) => rule.watched === true),
  ].filter(wanted);
}

/** Runs all rules over a plugin. Never rejects for what the plugin does. */
export async function runConformance(
  factory: ConformanceFactory,
  options: ConformanceOptions = {},
): Promise<ConformanceReport> {
  const { seed = 1, effort = 1 } = options;
  const { frontend, backend } = factory();
  const session = new Session(factory, seed, effort);
  const results: RuleResult[] = [];
  for (const rule of rulesInOrder(options.only)) {
    const began = Date.now();
    let status: Status = 'passed';
    let error: Error | null = null;
    try {
      await session.check(rule);
    } catch (caught) {
      error = caught as Error;
      status = caught instanceof UntestedError ? 'untested' : 'failed';
    }
    const id = error instanceof ConformanceError ? error.rule : rule.id;
    const result: RuleResult = {
      id,
      title: titleOf(rule, frontend.capabilities),
      docs: rule.docs,
      status,
      message: error?.message ?? null,
      error: status === 'failed' ? error : null,
      ms: Date.now() - began,
    };
    results.push(result);
    options.onResult?.(result);
  }
  const count = (status: Status): number => results.filter((result) => result.status === status).length;
  return {
    frontend: `${frontend.name} ${frontend.version}`,
    backend: `${backend.name} ${backend.version}`,
    seed,
    results,
    passed: count('passed'),
    failed: count('failed'),
    untested: count('untested'),
    conforms: count('passed') === results.length,
  };
}

/** What to do about a breach that a watcher saw. */
function advice(id: string): string {
  return ADVICE[id] ?? 'see the rule’s own words, and the page below';
}

const ADVICE: Readonly<Record<string, string>> = {
  'life.silent-after-remove':
    'in remove(), cancel timers, close event channels, and have late answers look whether the device is still there',
  'transmit.completes-once':
    'keep the frame with its descriptor, and forget it when it is completed; complete from poll()',
  'transmit.verdict':
    'return Verdict.sent, Verdict.busy, or what declined() and declinedOwn() answer, always',
  'transmit.untouched':
    'change nothing of a frame before it is certain that it is sent; release what was held',
  'hooks.never-throw':
    'check lengths before reading, and catch what may throw: a plugin that throws is detached',
  'poll.budget': 'count each delivered frame and each completion, and stop at the budget',
  'receive.in-poll': 'keep what arrived, call schedulePoll(), and deliver from poll()',
  'interrupts.settle': 'answer true from startInterrupts() only when poll() would find something',
};
