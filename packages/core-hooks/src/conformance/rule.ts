/**
 * A rule: one promise of the contract, and the check that holds a plugin to it. A check asserts its own promise and
 * nothing else, so that one fault breaks one rule.
 */
import type { Capabilities } from '../capabilities.js';
import type { Lab } from './lab.js';

/** What was found, as advice. */
export interface Finding {
  /** What the contract promises in this situation. */
  readonly expected: string;
  /** What happened. */
  readonly seen: string;
  /** What to do about it. */
  readonly todo: string;
}

/** A rule. */
export interface Rule {
  /** Stable name: `transmit.untouched`. */
  readonly id: string;
  /** The promise, in the words of the plugin that keeps it; it may depend on what the plugin can do. */
  readonly title: string | ((can: Capabilities) => string);
  /** Where the contract says so: a page and its heading. */
  readonly docs: string;
  /** Rules that have to hold for this one to mean anything. */
  readonly needs?: readonly string[];
  /** Exercises the plugin. Its failure is a {@link ConformanceError}; anything else thrown is the kit's own mistake. */
  check(lab: Lab): Promise<void>;
  /**
   * Set for a rule that every check watches over: breaches that any of them saw count, and it is judged last.
   */
  readonly watched?: true;
}

/** A plugin broke a rule. */
export class ConformanceError extends Error {
  /** Stable code for programs. */
  readonly code = 'NOT_CONFORMANT';
  /**
   * @param rule the rule's id.
   * @param finding what was found.
   * @param docs where the contract says so.
   */
  constructor(
    readonly rule: string,
    readonly finding: Finding,
    readonly docs: string,
  ) {
    super(
      `[${rule}]\n  expected: ${finding.expected}\n  seen:     ${finding.seen}\n  to do:    ${finding.todo}\n  read:     ${docs}`,
    );
    this.name = 'ConformanceError';
  }
}

/** A check could not be made, because something before it failed; another rule says what. */
export class UntestedError extends Error {
  /** Stable code for programs. */
  readonly code = 'UNTESTED';
  /** @param needs the rule that has to hold first. */
  constructor(readonly needs: string) {
    super(`could not be tested: ${needs} does not hold`);
    this.name = 'UntestedError';
  }
}

/** A rule's title for a plugin that can do this. */
export function titleOf(rule: Rule, can: Capabilities): string {
  return typeof rule.title === 'string' ? rule.title : rule.title(can);
}
