/**
 * Holds a lab file against its schema, and says everything that does not fit, not only the first thing.
 *
 * What does not fit is then taken out, so that the rest can be judged too (`resolve.ts`): a file with three
 * mistakes of three kinds is told of all three at once.
 */
import * as v from 'valibot';
import { nearestName } from './nearest.js';
import { LAB_VERSION, type LabFile, LabFileSchema } from './schema.js';
import type { LabSource, ProblemText } from './source.js';
import type { LabPath, PlainValue } from './yaml-tree.js';

/** As much of a valibot schema as is looked at here. */
interface AnySchema {
  readonly type: string;
  readonly wrapped?: AnySchema;
  readonly entries?: Readonly<Record<string, AnySchema>>;
  readonly key?: v.GenericSchema;
  readonly value?: AnySchema;
  readonly item?: AnySchema;
  readonly options?: readonly AnySchema[];
  readonly message?: unknown;
}

/** What the schema check leaves. */
export interface Shape {
  /** What fits, with defaults; null when nothing can be made of it. */
  readonly file: LabFile | null;
  /** For each wire of `file`, its number in the text. */
  readonly wireNumbers: readonly number[];
  /** Whether a host's ports are not known for sure, because something there did not fit. */
  isDoubtful(host: string): boolean;
}

type Mapping = { [key: string]: PlainValue };

function isMapping(value: PlainValue | undefined): value is Mapping {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Names that JavaScript's objects know already; valibot leaves them out without a word. */
const RESERVED: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype']);

/** Checks the shape of what stands in a file. */
export function checkShape(value: PlainValue, source: LabSource): Shape {
  if (isMapping(value) && typeof value['lab'] === 'number' && value['lab'] !== LAB_VERSION) {
    // Another version means other keys: what they are is not judged by this one's.
    source.add(['lab'], 'value', versionProblem(value['lab']));
    return { file: null, wireNumbers: [], isDoubtful: () => true };
  }
  const misfits: LabPath[] = [];
  const suggested = new Set<string>();
  const add = (path: LabPath, where: 'key' | 'value', text: ProblemText) => {
    misfits.push(path);
    source.add(path, where, text);
  };
  checkKeys(LabFileSchema as unknown as AnySchema, value, [], (path, where, text) => {
    add(path, where, text);
    if (text.nearest !== undefined && text.nearest !== null)
      suggested.add(pathKey([...path.slice(0, -1), text.nearest]));
  });
  for (const { path, issue } of issuesOf(value)) {
    if (misfits.some((misfit) => isWithin(path, misfit))) continue;
    if (!isMissing(issue)) add(path, 'value', valueProblem(issue));
    // A key that was only misspelt is not missing as well.
    else if (!suggested.has(pathKey(path))) add(path, 'value', missingProblem(path));
    else misfits.push(path);
  }
  return takeOut(value, misfits);
}

/** Reports each key that means nothing, each name that is none, and each list where a mapping belongs. */
function checkKeys(
  schema: AnySchema,
  value: PlainValue,
  path: LabPath,
  add: (path: LabPath, where: 'key' | 'value', text: ProblemText) => void,
): void {
  const { wrapped, entries, item, options } = schema;
  if (wrapped !== undefined) {
    checkKeys(wrapped, value, path, add);
  } else if (schema.type === 'union' && isMapping(value)) {
    const inside = options!.find((option) => option.entries !== undefined);
    if (inside !== undefined) checkKeys(inside, value, path, add);
  } else if (schema.type === 'union' && Array.isArray(value)) {
    const inside = options!.find((option) => option.item !== undefined);
    if (inside !== undefined) checkKeys(inside, value, path, add);
  } else if (Array.isArray(value)) {
    if (item !== undefined) value.forEach((child, i) => checkKeys(item, child, [...path, i], add));
    else if (entries !== undefined || schema.type === 'record') {
      const expected = String(schema.message);
      const advice = 'write it as KEY: VALUE, one to a line';
      add(path, 'value', { code: 'LAB_BAD_VALUE', expected, seen: seenText(value), advice });
    }
  } else if (isMapping(value) && entries !== undefined) {
    const known = Object.keys(entries);
    for (const [key, child] of Object.entries(value)) {
      if (known.includes(key)) checkKeys(entries[key]!, child, [...path, key], add);
      else add([...path, key], 'key', unknownKey(key, known));
    }
  } else if (isMapping(value) && schema.type === 'record') {
    for (const [key, child] of Object.entries(value)) {
      const judged = v.safeParse(schema.key!, key);
      if (judged.success && !RESERVED.has(key)) {
        checkKeys(schema.value!, child, [...path, key], add);
        continue;
      }
      const expected = judged.success
        ? `a name other than ${[...RESERVED].join(', ')}`
        : judged.issues[0].message;
      add([...path, key], 'key', {
        code: 'LAB_BAD_VALUE',
        expected,
        seen: `"${clip(key)}"`,
        advice: 'rename it',
      });
    }
  }
}

/** @internal A key that means nothing. */
export function unknownKey(key: string, known: readonly string[]): ProblemText {
  const nearest = nearestName(key, known);
  return {
    code: 'LAB_UNKNOWN_KEY',
    expected: `one of ${known.join(', ')}`,
    seen: `the key "${clip(key)}"`,
    advice: nearest === null ? 'take it out' : `did you mean ${nearest}?`,
    nearest,
  };
}

interface FoundIssue {
  readonly path: LabPath;
  readonly issue: v.BaseIssue<unknown>;
}

/** The schema's issues; of a union, those inside the alternative that was meant where there are any. */
function issuesOf(value: PlainValue): FoundIssue[] {
  const { issues = [] } = v.safeParse(LabFileSchema, value);
  return issues.flatMap((issue) => unfold(issue, []));
}

function unfold(issue: v.BaseIssue<unknown>, around: LabPath): FoundIssue[] {
  const path = [...around, ...(issue.path ?? []).map((item) => item.key as string | number)];
  const inside = (issue.issues ?? []).filter((sub) => sub.path !== undefined);
  return inside.length === 0 ? [{ path, issue }] : inside.flatMap((sub) => unfold(sub, path));
}

function isMissing(issue: v.BaseIssue<unknown>): boolean {
  return issue.path?.at(-1)?.origin === 'key' && issue.received === 'undefined';
}

function versionProblem(version: number): ProblemText {
  return {
    code: 'LAB_BAD_VALUE',
    expected: `version ${LAB_VERSION} of lab files`,
    seen: `version ${version}`,
    advice: 'use the netaccel that the file was written for, or write it anew for this version',
  };
}

function missingProblem(path: LabPath): ProblemText {
  const key = String(path.at(-1));
  const advice = key === 'lab' ? `begin the file with lab: ${LAB_VERSION}` : `add ${key}:`;
  return { code: 'LAB_MISSING_KEY', expected: `the key ${key}`, seen: 'none', advice };
}

/** @internal A value that does not fit. */
export function valueProblem(issue: v.BaseIssue<unknown>): ProblemText {
  const value = issue.input as PlainValue;
  // The alternatives of a picklist or union, as valibot writes them: ("tap" | "memory" | Object).
  const names = Array.from((issue.expected ?? '').matchAll(/"([^"]+)"/g), ([, name]) => name!);
  const nearest = typeof value === 'string' ? nearestName(value, names) : null;
  return {
    code: 'LAB_BAD_VALUE',
    expected: issue.message,
    seen: seenText(value),
    advice: nearest === null ? valueAdvice(value, issue.message) : `did you mean ${nearest}?`,
    nearest,
  };
}

function valueAdvice(value: PlainValue, expected: string): string {
  if (value === null)
    return expected.startsWith('a mapping') ? 'write {} to take all defaults' : 'write a value';
  if (typeof value === 'number' && /^a (rate|duration)/.test(expected)) return 'add the unit';
  if (typeof value === 'string' && expected.startsWith('a rate') && /B\/?p?s/.test(value))
    return 'write bits, not bytes: b is a bit';
  if (typeof value === 'string' && expected.startsWith('a list')) return `write a list: [${clip(value)}]`;
  if (typeof value === 'string' && value.trim() !== '' && /number|probability/.test(expected))
    return Number.isNaN(Number(value)) ? 'write a number' : 'write it without quotes';
  return 'correct the value';
}

/** Characters of a value that are shown. */
const CLIPPED = 60;

/** A text short enough to be shown. */
export function clip(text: string): string {
  return text.length <= CLIPPED ? text : `${text.slice(0, CLIPPED)}...`;
}

/** A value in a few words. */
function seenText(value: PlainValue): string {
  if (value === null) return 'nothing';
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === 'object') return 'a mapping';
  if (typeof value === 'string') return `the text "${clip(value)}"`;
  return typeof value === 'number' ? `the number ${value}` : String(value);
}

function pathKey(path: LabPath): string {
  return path.join('\0');
}

function isWithin(path: LabPath, around: LabPath): boolean {
  return around.length <= path.length && around.every((part, i) => part === path[i]);
}

/** Takes out what does not fit, and what cannot be without it, until the rest fits. */
function takeOut(value: PlainValue, misfits: readonly LabPath[]): Shape {
  const rest = structuredClone(value);
  const wires = isMapping(rest) && Array.isArray(rest['wires']) ? [...rest['wires']] : [];
  const isDoubtful = (host: string) =>
    misfits.some(
      ([top, name, key, ...deeper]) =>
        top === 'hosts' && (name === undefined || (name === host && (deeper.length === 0 || key === 'nic'))),
    );
  let paths = misfits;
  while (true) {
    for (const path of paths) {
      if (!remove(rest, path)) return { file: null, wireNumbers: [], isDoubtful };
    }
    const left =
      isMapping(rest) && Array.isArray(rest['wires']) ? rest['wires'].filter((wire) => wire !== GONE) : [];
    const parsed = v.safeParse(LabFileSchema, { ...(rest as Mapping), lab: LAB_VERSION, wires: left });
    if (parsed.success)
      return { file: parsed.output, wireNumbers: left.map((wire) => wires.indexOf(wire)), isDoubtful };
    if (isMapping(rest)) rest['wires'] = left;
    paths = parsed.issues
      .flatMap((issue) => unfold(issue, []))
      .map(({ path, issue }) => (isMissing(issue) ? path.slice(0, -1) : path));
  }
}

/** Stands where a wire was taken out, so that the numbers of the others stay. */
const GONE = null;

/** Takes one thing out; false when that leaves nothing. Of a list other than the wires, the whole list goes. */
function remove(root: PlainValue, path: LabPath): boolean {
  const last = path.at(-1);
  if (last === undefined || !isMapping(root)) return false;
  let parent: PlainValue | undefined = root;
  for (const part of path.slice(0, -1)) {
    if (Array.isArray(parent)) parent = parent[part as number];
    else if (isMapping(parent)) parent = parent[part];
  }
  if (Array.isArray(parent)) {
    if (path.length !== 2 || path[0] !== 'wires') return remove(root, path.slice(0, -1));
    parent[last as number] = GONE;
  } else if (isMapping(parent)) Reflect.deleteProperty(parent, last);
  return true;
}
