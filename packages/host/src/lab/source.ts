/**
 * A lab file's text: YAML read into plain data, with the line and column of each key and value.
 *
 * The text is somebody else's. Its lines, its depth and what its aliases unfold to are bounded before and
 * while it is read; problems are collected, not thrown.
 */
import { type Document, LineCounter, parseDocument, type YAMLError } from 'yaml';
import type { LabPlace, LabProblem } from './problem.js';
import { type LabPath, type Located, type PlainValue, type TreeFault, YamlTree } from './yaml-tree.js';

/** Bounds on a lab file. */
export const LabLimits = {
  /** Bytes of the file. */
  fileBytes: 256 * 1024,
  /**
   * Characters of a line. Deep indentation makes YAML parsers slow, and makes the one that is used abort the
   * process (it compiles a regular expression as long as the indentation).
   */
  lineCharacters: 1000,
  /** How deep mappings and lists may stand in each other. */
  depth: 32,
  /** Values after aliases have been unfolded. */
  values: 20_000,
} as const;

/** What a problem needs besides its place. */
export interface ProblemText extends Pick<LabProblem, 'code' | 'expected' | 'seen' | 'advice'> {
  /** See {@link LabProblem}. */
  readonly nearest?: string | null;
}

/** A path for people: `hosts.alpha.guests.a`, `wires[0].between[1]`. */
export function pathText(path: LabPath): string {
  let text = '';
  for (const part of path) text += typeof part === 'number' ? `[${part}]` : text === '' ? part : `.${part}`;
  return text;
}

/** One lab file's text and what was found wrong with it. */
export class LabSource {
  /** Problems so far. */
  readonly problems: LabProblem[] = [];
  private readonly counter = new LineCounter();
  private readonly lines: readonly string[];
  private root: Located = { at: 0, children: new Map() };

  /**
   * @param file its name, for messages.
   * @param text its text.
   */
  constructor(
    readonly file: string,
    private readonly text: string,
  ) {
    this.lines = text.split(/\r\n|\n|\r/);
  }

  /** The text as plain data, or undefined with {@link problems}. */
  parse(): PlainValue | undefined {
    if (!this.isBounded()) return undefined;
    const document = this.document();
    const [first] = [...document.errors, ...document.warnings];
    if (first !== undefined) {
      this.addYamlError(first);
      return undefined;
    }
    const tree = new YamlTree(LabLimits, (fault) => this.addTreeFault(fault));
    const { value, located } = tree.turn(document.contents);
    if (this.problems.length > 0) return undefined;
    this.root = located;
    return value;
  }

  /**
   * Adds a problem at a path: at the key there or at the value, or where the nearest thing around it stands.
   * @param first the other place, of something that stands twice.
   */
  add(path: LabPath, where: 'key' | 'value', text: ProblemText, first?: LabPath): void {
    const other = first === undefined ? null : { ...this.place(first, 'value'), path: pathText(first) };
    this.push(this.place(path, where), pathText(path), text, other);
  }

  /** Where the key or the value at a path stands. */
  placeOfPath(path: LabPath, where: 'key' | 'value'): Pick<LabProblem, 'path' | keyof LabPlace | 'excerpt'> {
    const place = this.place(path, where);
    return { path: pathText(path), ...place, excerpt: this.lines[place.line - 1] ?? null };
  }

  /** Whether the text has something at a path. */
  has(path: LabPath): boolean {
    let node: Located | undefined = this.root;
    for (const part of path) node = node?.children.get(part)?.node;
    return node !== undefined;
  }

  private push(place: LabPlace, path: string, text: ProblemText, first: LabProblem['first'] = null): void {
    const excerpt = this.lines[place.line - 1] ?? null;
    this.problems.push({ nearest: null, ...text, file: this.file, path, ...place, first, excerpt });
  }

  private place(path: LabPath, where: 'key' | 'value'): LabPlace {
    let node = this.root;
    let { at } = node;
    for (let i = 0; i < path.length; i++) {
      const child = node.children.get(path[i]!);
      if (child === undefined) break;
      node = child.node;
      const isLast = i === path.length - 1;
      // What a mapping lacks is shown at that mapping's key, not at the first thing that it has.
      const lacksNext = !isLast && !node.children.has(path[i + 1]!);
      at = lacksNext || (isLast && where === 'key') ? child.keyAt : node.at;
    }
    return this.placeOf(at);
  }

  private placeOf(offset: number): LabPlace {
    const { line, col } = this.counter.linePos(offset);
    return { line: Math.max(line, 1), column: Math.max(col, 1) };
  }

  private document(): Document.Parsed {
    return parseDocument(this.text, {
      lineCounter: this.counter,
      prettyErrors: false,
      uniqueKeys: false, // found in the tree, where both places are known
      resolveKnownTags: false,
      stringKeys: true,
      logLevel: 'error',
    });
  }

  private isBounded(): boolean {
    for (const [i, line] of this.lines.entries()) {
      if (line.length > LabLimits.lineCharacters) {
        const expected = `lines of at most ${LabLimits.lineCharacters} characters`;
        const seen = `a line of ${line.length}`;
        const text: ProblemText = {
          code: 'LAB_TOO_LARGE',
          expected,
          seen,
          advice: 'is this a lab file? Break the line',
        };
        this.push({ line: i + 1, column: 1 }, '', text);
        return false;
      }
      const column = controlCharacter(line);
      if (column >= 0) {
        const seen = `the control character U+${line.charCodeAt(column).toString(16).padStart(4, '0').toUpperCase()}`;
        const advice = 'is this a lab file? Take the character out';
        this.push({ line: i + 1, column: column + 1 }, '', {
          code: 'LAB_NOT_YAML',
          expected: 'text',
          seen,
          advice,
        });
        return false;
      }
    }
    return true;
  }

  private addYamlError({ code, message, pos }: YAMLError): void {
    if (code === 'RESOURCE_EXHAUSTION') {
      this.addTreeFault({ kind: 'deep', at: pos[0] });
      return;
    }
    const seen = code === 'MULTIPLE_DOCS' ? 'a second document' : message.replace(/\.$/, '');
    const expected = code === 'TAG_RESOLVE_FAILED' ? 'YAML without tags' : 'one YAML document';
    const advice = 'correct the YAML there; text with special characters wants quotes';
    this.push(this.placeOf(pos[0]), '', { code: 'LAB_NOT_YAML', expected, seen, advice });
  }

  private addTreeFault(fault: TreeFault): void {
    const place = this.placeOf(fault.at);
    if (fault.kind === 'twice') {
      const path = pathText(fault.path);
      const seen = `${path} a second time`;
      const text = {
        expected: 'each key once in its mapping',
        seen,
        advice: 'take one of them out, or rename it',
      };
      this.push(
        place,
        path,
        { code: 'LAB_DUPLICATE_KEY', ...text },
        { ...this.placeOf(fault.firstAt), path },
      );
      return;
    }
    this.push(place, '', treeFaultText(fault));
  }
}

function treeFaultText(fault: Exclude<TreeFault, { kind: 'twice' }>): ProblemText {
  switch (fault.kind) {
    case 'deep': {
      const expected = `mappings and lists at most ${LabLimits.depth} deep in each other`;
      return { code: 'LAB_TOO_LARGE', expected, seen: 'more', advice: 'is this a lab file?' };
    }
    case 'many': {
      const expected = `at most ${LabLimits.values} values, with aliases unfolded`;
      return {
        code: 'LAB_TOO_LARGE',
        expected,
        seen: 'more',
        advice: 'use fewer aliases, or make two labs of it',
      };
    }
    case 'unanchored': {
      const expected = 'an alias of something anchored before it';
      const advice = `anchor what is meant with &${fault.alias}`;
      return {
        code: 'LAB_NOT_YAML',
        expected,
        seen: `*${fault.alias}, which nothing before it anchors`,
        advice,
      };
    }
    case 'loop': {
      const expected = 'an alias of something that it does not stand in itself';
      const seen = `*${fault.alias} inside of what &${fault.alias} anchors`;
      return { code: 'LAB_ALIAS_LOOP', expected, seen, advice: 'write out what is meant' };
    }
  }
}

/** Index of the first control character but a tab, or -1. */
function controlCharacter(line: string): number {
  for (let i = 0; i < line.length; i++) {
    const code = line.charCodeAt(i);
    if ((code < 0x20 && code !== 0x09) || code === 0x7f) return i;
  }
  return -1;
}
