/** The project's pages, and what tests read out of them: links to functions, and code samples. */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The repository. */
export const root = fileURLToPath(new URL('..', import.meta.url));

/** A page. */
export interface Page {
  /** Relative to the repository. */
  readonly path: string;
  readonly text: string;
}

/** A sample of TypeScript in a page. */
export interface Sample {
  /** Page and line, for people. */
  readonly title: string;
  readonly code: string;
  /** What its `// prints ...` comments say, in order. */
  readonly prints: readonly string[];
}

function markdownIn(folder: string): string[] {
  const path = join(root, folder);
  if (!existsSync(path)) return [];
  return readdirSync(path)
    .filter((name) => name.endsWith('.md') && name !== 'CHANGELOG.md')
    .map((name) => join(folder, name));
}

/** Every page of the project. */
export function pages(): Page[] {
  const packages = readdirSync(join(root, 'packages')).map((name) => join('packages', name));
  const examples = readdirSync(join(root, 'examples')).map((name) => join('examples', name));
  return ['.', 'docs', 'docs/plugin-authors', ...packages, ...examples, 'packages/create-plugin/template']
    .flatMap(markdownIn)
    .map((path) => ({
      path,
      text: readFileSync(join(root, path), 'utf8'),
    }));
}

/** Targets of relative links that do not exist. */
export function brokenLinks({ path, text }: Page): string[] {
  const prose = text.replace(/^```[\s\S]*?^```/gm, '');
  return [...prose.matchAll(/\]\(([^)\s]+)\)/g)]
    .map((match) => match[1]!)
    .filter((target) => !/^[a-z]+:|^#/.test(target))
    .filter((target) => !existsSync(resolve(root, dirname(path), target.replace(/#.*$/, ''))));
}

/** Links of the form [`Class.method`](file.ts) or [`name`](file.ts). */
export function functionLinks({ path, text }: Page): { name: string; file: string }[] {
  return [...text.matchAll(/\[`([\w.]+)`\]\(([^)]+\.ts)\)/g)].map((match) => ({
    name: match[1]!,
    file: relative(root, resolve(root, dirname(path), match[2]!)),
  }));
}

/** Whether a file declares a function, or a class with that method. */
export function declares(file: string, name: string): boolean {
  const source = readFileSync(join(root, file), 'utf8');
  const [owner, method] = name.split('.');
  if (method === undefined) return new RegExp(`^export (async )?function ${name}\\b`, 'm').test(source);
  const start = source.search(new RegExp(`^export (abstract )?class ${owner!}\\b`, 'm'));
  if (start < 0) return false;
  const body = source.slice(start, source.indexOf('\n}', start));
  return new RegExp(`^  ((private|protected|static|async|override) )*${method}(<[^>]*>)?\\(`, 'm').test(body);
}

/** Every block of TypeScript in a page. */
export function samples({ path, text }: Page): Sample[] {
  return [...text.matchAll(/^```ts\n([\s\S]*?)^```/gm)].map((match) => {
    const code = match[1]!;
    const line = text.slice(0, match.index).split('\n').length;
    const prints = [...code.matchAll(/\/\/ prints (.*)$/gm)].map((print) => print[1]!.trim());
    return { title: `${path}:${line}`, code, prints };
  });
}
