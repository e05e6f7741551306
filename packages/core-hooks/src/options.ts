/**
 * What an operator may set of a backend plugin: declared as a JSON Schema of a few words, judged by the host before
 * the plugin is asked for anything. A plugin never sees an option that does not fit, nor one that it did not declare.
 */

/** Value of an option. */
export type OptionValue = number | boolean | string;

/** Options by name. */
export type OptionValues = Readonly<Record<string, OptionValue>>;

/** One option, as JSON Schema says it. */
export interface OptionSchema {
  /** What it is. */
  readonly type: 'integer' | 'number' | 'boolean' | 'string';
  /** What it does, for who sets it. */
  readonly description: string;
  /** What it is when nobody sets it: one that fits the schema. */
  readonly default: OptionValue;
  /** Least number. */
  readonly minimum?: number;
  /** Greatest number. */
  readonly maximum?: number;
  /** The texts that it may be; any when left out. */
  readonly enum?: readonly string[];
}

/**
 * A plugin's options: a JSON Schema object. Each has a default, so that a plugin runs for who sets none.
 *
 * @example
 * ```ts
 * const options = {
 *   type: 'object',
 *   additionalProperties: false,
 *   properties: {
 *     filters: { type: 'integer', minimum: 0, maximum: 64, default: 8, description: 'Most filters of a guest.' },
 *   },
 * } as const satisfies OptionsSchema;
 * const values: OptionsOf<typeof options> = defaultOptions(options); // { filters: 8 }
 * ```
 */
export interface OptionsSchema {
  /** Options are by name. */
  readonly type: 'object';
  /** There are no others. */
  readonly additionalProperties: false;
  /** The options, by name. */
  readonly properties: Readonly<Record<string, OptionSchema>>;
}

/** The values that a schema's options have. */
export type OptionsOf<S extends OptionsSchema> = {
  readonly [K in keyof S['properties']]: OptionValueOf<S['properties'][K]>;
};

/** The values of one option. */
export type OptionValueOf<O extends OptionSchema> = O['type'] extends 'boolean'
  ? boolean
  : O['type'] extends 'string'
    ? O extends { readonly enum: readonly (infer E)[] }
      ? E
      : string
    : number;

/** A schema that has no options. */
export const NO_OPTIONS = {
  type: 'object',
  additionalProperties: false,
  properties: {},
} as const satisfies OptionsSchema;

/** What the options are when nobody sets any. */
export function defaultOptions<S extends OptionsSchema>(schema: S): OptionsOf<S> {
  const values = Object.entries(schema.properties).map(([name, option]) => [name, option.default]);
  return Object.fromEntries(values) as OptionsOf<S>;
}
