/**
 * A plugin's options: judged by the schema that it declares, before it is registered. The schema is the plugin's, so
 * it is judged first; the values are the operator's: every one that does not fit is told of, and none is passed on.
 */
import { NO_OPTIONS, defaultOptions } from '@netaccel/core-hooks';
import type {
  BackendAcceleratorDefinition,
  OptionSchema,
  OptionValue,
  OptionValues,
  OptionsSchema,
} from '@netaccel/core-hooks';
import * as v from 'valibot';
import { unknownKey, valueProblem } from './lab/shape.js';
import type { LabProblem } from './lab/problem.js';
import type { ProblemText } from './lab/source.js';

/** Options as somebody wrote them. */
export type GivenOptions = Readonly<Record<string, unknown>>;

/** An option that does not fit. */
export interface OptionProblem extends Pick<LabProblem, 'code' | 'expected' | 'seen' | 'advice'> {
  /** The name that was probably meant, or null. */
  readonly nearest?: string | null;
  /** Its name, as it was written. */
  readonly option: string;
  /** Whether it is the name that means nothing, or the value that does not fit. */
  readonly where: 'key' | 'value';
}

/** A plugin was given options that do not fit its schema. */
export class PluginOptionsError extends Error {
  /** Stable code for programs. */
  readonly code = 'BAD_OPTION';
  /**
   * @param plugin the plugin's name.
   * @param problems all that does not fit.
   */
  constructor(
    plugin: string,
    readonly problems: readonly OptionProblem[],
  ) {
    const lines = problems.map(
      ({ option, expected, seen, advice }) =>
        `option ${option}: expected ${expected}, saw ${seen}; ${advice}`,
    );
    super(`${plugin} was not loaded, nothing was changed: ${lines.join('\n')}`);
    this.name = 'PluginOptionsError';
  }
}

/** A backend plugin with its options set: what a registry is given. */
export interface ConfiguredBackend extends BackendAcceleratorDefinition {
  /** Every option, those that nobody set with their defaults. */
  readonly configured: OptionValues;
}

const number = v.pipe(v.number(), v.finite());
const SCHEMA = v.strictObject({
  type: v.literal('object'),
  additionalProperties: v.literal(false),
  properties: v.record(
    v.pipe(v.string(), v.regex(/^[A-Za-z][A-Za-z0-9_-]{0,62}$/)),
    v.strictObject({
      type: v.picklist(['integer', 'number', 'boolean', 'string']),
      description: v.string(),
      default: v.union([number, v.boolean(), v.string()]),
      minimum: v.optional(number),
      maximum: v.optional(number),
      enum: v.optional(v.pipe(v.array(v.string()), v.minLength(1))),
    }),
  ),
});

/** Why a plugin's own schema cannot be used, or null. Its defaults have to fit it as well. */
export function schemaProblem(schema: unknown): string | null {
  if (schema === undefined) return null;
  const { issues } = v.safeParse(SCHEMA, schema);
  if (issues !== undefined) return `${v.getDotPath(issues[0]) ?? 'options'}: ${issues[0].message}`;
  const good = schema as OptionsSchema;
  const [bad] = problemsOf(good, defaultOptions(good));
  return bad === undefined ? null : `default of ${bad.option}: expected ${bad.expected}, saw ${bad.seen}`;
}

/** Everything of `given` that does not fit. */
export function problemsOf(schema: OptionsSchema = NO_OPTIONS, given: GivenOptions): OptionProblem[] {
  const known = Object.keys(schema.properties);
  return Object.entries(given).flatMap(([option, value]): OptionProblem[] => {
    if (!Object.hasOwn(schema.properties, option))
      return [
        { option, where: 'key', ...(known.length > 0 ? unknownKey(option, known) : noOptions(option)) },
      ];
    const { issues } = v.safeParse(valueSchema(schema.properties[option]!), value);
    return issues === undefined ? [] : [{ option, where: 'value', ...valueProblem(issues[0]) }];
  });
}

/**
 * The plugin with its options set.
 * @throws PluginOptionsError with all that does not fit.
 */
export function configure(definition: BackendAcceleratorDefinition, given: GivenOptions): ConfiguredBackend {
  const { options: schema = NO_OPTIONS } = definition;
  const problems = problemsOf(schema, given);
  if (problems.length > 0) throw new PluginOptionsError(definition.name, problems);
  const configured = { ...defaultOptions(schema), ...(given as OptionValues) };
  return { ...definition, configured, probe: (services) => definition.probe(services, configured) };
}

/**
 * Options of a command line, with one more: `filters=4`. A number, true or false is one; anything else is a text.
 * @throws RangeError when it has no name or no value, or stands twice.
 */
export function addOption(word: string, before: OptionValues = {}): OptionValues {
  const at = word.indexOf('=');
  if (at < 1) throw new RangeError('expected NAME=VALUE such as filters=4');
  const name = word.slice(0, at);
  if (Object.hasOwn(before, name)) throw new RangeError(`expected ${name} once`);
  return Object.fromEntries([...Object.entries(before), [name, valueOf(word.slice(at + 1))]]);
}

function valueOf(text: string): OptionValue {
  if (text === 'true' || text === 'false') return text === 'true';
  return /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : text;
}

function noOptions(option: string): ProblemText {
  const seen = `the option "${option}"`;
  return {
    code: 'LAB_UNKNOWN_KEY',
    expected: 'no options: the plugin has none',
    seen,
    advice: 'take it out',
  };
}

function valueSchema(option: OptionSchema): v.GenericSchema {
  if (option.type === 'boolean') return v.boolean('true or false');
  if (option.type === 'string') {
    if (option.enum === undefined) return v.string('a text');
    return v.picklist(option.enum, option.enum.join(' or '));
  }
  const { minimum: least = -Infinity, maximum: most = Infinity } = option;
  const kind = option.type === 'integer' ? 'a whole number' : 'a number';
  const expected = `${kind}${rangeText(least, most)}`;
  const inRange = v.pipe(
    v.number(expected),
    v.finite(expected),
    v.minValue(least, expected),
    v.maxValue(most, expected),
  );
  return option.type === 'integer' ? v.pipe(inRange, v.integer(expected)) : inRange;
}

function rangeText(least: number, most: number): string {
  if (Number.isFinite(least) && Number.isFinite(most)) return ` from ${least} to ${most}`;
  if (Number.isFinite(least)) return ` of at least ${least}`;
  return Number.isFinite(most) ? ` of at most ${most}` : '';
}
