// Which package may know which: the table, and the reading that holds package.json files and imports to it.
// boundaries.test.ts runs it over the workspace and over imports that it must refuse.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { dirname, join, relative, resolve, sep } from 'node:path';
import ts from 'typescript';

export interface Row {
  /** Packages of this workspace, without the scope. */
  readonly workspace: readonly string[];
  /** The workspace packages are peers: whoever loads the plugin has them already, and they must be the same ones. */
  readonly asPeers?: true;
  /** Workspace packages that are loaded by name at run time, so never imported statically. */
  readonly byName?: readonly string[];
  readonly external?: readonly string[];
  /** May be absent at run time, so never imported statically. */
  readonly optional?: readonly string[];
  /** Workspace packages that what this one writes depends on: development only, never imported. */
  readonly named?: readonly string[];
  /** Workspace packages that tests import besides. */
  readonly inTests?: readonly string[];
  /** Node's own modules: everywhere, or in these folders of src only. Absent: nowhere, so a browser can load it. */
  readonly builtins?: 'everywhere' | readonly string[];
}

const vendor: Row = { workspace: ['core-hooks', 'nic-vi'], asPeers: true };

export const table: Readonly<Record<string, Row>> = {
  'core-hooks': { workspace: [] },
  'nic-vi': { workspace: ['core-hooks'] },
  xen: { workspace: ['core-hooks'], optional: ['koffi'], builtins: ['native', 'sim', 'store'] },
  netfront: { workspace: ['core-hooks', 'xen'] },
  netback: { workspace: ['core-hooks', 'xen'] },
  'dummy-accel-frontend': vendor,
  'dummy-accel-backend': vendor,
  host: {
    workspace: ['core-hooks', 'xen', 'nic-vi', 'netfront', 'netback'],
    byName: ['dummy-accel-frontend', 'dummy-accel-backend'],
    external: ['@valibot/to-json-schema', 'cli-table3', 'commander', 'uplot', 'valibot', 'yaml'],
    optional: ['koffi'],
    builtins: 'everywhere',
  },
  'create-plugin': {
    workspace: [],
    named: ['core-hooks', 'nic-vi', 'host'],
    external: ['@clack/prompts'],
    builtins: 'everywhere',
  },
};

/** Plugins as others write them, by their folder: outside of the workspace, with what a vendor has. */
export const outside: Readonly<Record<string, Row>> = {
  'examples/flow-meter': vendor,
  'packages/create-plugin/template': { ...vendor, inTests: ['host'] },
  'packages/create-plugin/overrides/transmit': vendor,
};

/** What any test file may import besides. */
const testTools = ['vitest', 'fast-check', '@fast-check/vitest', 'typescript'];
const scope = '@netaccel/';

export interface Manifest {
  readonly name: string;
  readonly exports?: Readonly<Record<string, unknown>>;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
}

export interface Import {
  readonly specifier: string;
  readonly kind: 'static' | 'type' | 'dynamic';
}

export function importsOf(fileName: string, text: string): Import[] {
  const source = ts.createSourceFile(fileName, text, ts.ScriptTarget.ES2022, true);
  const found: Import[] = [];
  const add = (node: ts.Node | undefined, kind: Import['kind']) => {
    if (node !== undefined && ts.isStringLiteralLike(node)) found.push({ specifier: node.text, kind });
  };
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node)) {
      add(
        node.moduleSpecifier,
        node.importClause?.phaseModifier === ts.SyntaxKind.TypeKeyword ? 'type' : 'static',
      );
    } else if (ts.isExportDeclaration(node)) {
      add(node.moduleSpecifier, node.isTypeOnly ? 'type' : 'static');
    } else if (ts.isImportEqualsDeclaration(node) && ts.isExternalModuleReference(node.moduleReference)) {
      add(node.moduleReference.expression, node.isTypeOnly ? 'type' : 'static');
    } else if (ts.isImportTypeNode(node)) {
      if (ts.isLiteralTypeNode(node.argument)) add(node.argument.literal, 'type');
    } else if (ts.isModuleDeclaration(node) && ts.isStringLiteral(node.name)) {
      add(node.name, 'type');
    } else if (ts.isCallExpression(node)) {
      if (node.expression.kind === ts.SyntaxKind.ImportKeyword) add(node.arguments[0], 'dynamic');
      else if (ts.isIdentifier(node.expression) && node.expression.text === 'require') {
        add(node.arguments[0], 'dynamic');
      }
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

/** The npm name in a specifier: `@a/b/c` is `@a/b`, `b/c` is `b`. */
function npmName(specifier: string): string {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
}

/**
 * Says what is wrong with one import, or undefined.
 * @param folder the package's folder name
 * @param file its path inside the package, for example `src/ring.ts` or `test/ring.test.ts`
 * @param publicEntries the `exports` keys of each workspace package
 */
export function importProblem(
  folder: string,
  file: string,
  { specifier, kind }: Import,
  publicEntries: Readonly<Record<string, readonly string[]>>,
): string | undefined {
  const row = table[folder] ?? outside[folder];
  if (row === undefined) return `${folder} is not in the table`;
  const isTest = !file.startsWith('src/') || /\.test\.ts$/.test(file);

  if (specifier.startsWith('.')) {
    const target = resolve('/package', dirname(file), specifier);
    return target.startsWith('/package/') ? undefined : 'a relative import leaves the package';
  }
  if (isBuiltin(specifier)) {
    if (!specifier.startsWith('node:')) return `write node:${specifier}`;
    const allowed =
      isTest ||
      row.builtins === 'everywhere' ||
      row.builtins?.some((inside) => file.startsWith(`src/${inside}/`)) === true;
    return allowed ? undefined : 'no Node module here: this part also runs in a browser';
  }

  const name = npmName(specifier);
  if (!name.startsWith(scope)) {
    if (isTest && testTools.includes(name)) return undefined;
    if (row.external?.includes(name) === true) return undefined;
    if (row.optional?.includes(name) === true) {
      return kind === 'static' ? `${name} may be absent: import() it where it is needed` : undefined;
    }
    return `${folder} may not depend on ${name}`;
  }

  const target = name.slice(scope.length);
  const entry = `.${specifier.slice(name.length)}`;
  if (target === folder) {
    if (!isTest) return 'a source file imports its own package by name';
  } else if (row.byName?.includes(target) === true) {
    if (kind === 'static') return `${name} is a plugin: load it by name at run time`;
  } else if (!row.workspace.includes(target) && !(isTest && row.inTests?.includes(target) === true)) {
    return `${folder} may not depend on ${target}`;
  }
  return publicEntries[target]?.includes(entry) === true
    ? undefined
    : `${entry} is not a public entry of ${name}`;
}

/** Says where a package.json differs from its row. */
export function manifestProblems(folder: string, manifest: Manifest): string[] {
  const row = table[folder];
  if (row === undefined) return [`${folder} is not in the table`];
  const scoped = (names: readonly string[]) => names.map((name) => scope + name);
  const workspace = scoped([...row.workspace, ...(row.byName ?? [])]);
  const expected = {
    dependencies: [...(row.asPeers ? [] : workspace), ...(row.external ?? [])],
    peerDependencies: row.asPeers ? workspace : [],
    optionalDependencies: [...(row.optional ?? [])],
  };

  const problems: string[] = [];
  if (manifest.name !== scope + folder) problems.push(`the name is ${manifest.name}, not ${scope}${folder}`);
  for (const [field, names] of Object.entries(expected)) {
    const declared = manifest[field as keyof typeof expected] ?? {};
    for (const name of names) {
      if (!(name in declared)) problems.push(`${field} lacks ${name}`);
    }
    for (const [name, range] of Object.entries(declared)) {
      if (!names.includes(name)) problems.push(`${field} has ${name}, which the table does not allow`);
      if (name.startsWith(scope) && !range.startsWith('^')) problems.push(`${name} wants a caret range`);
    }
  }
  for (const name of Object.keys(manifest.devDependencies ?? {})) {
    if (name.startsWith(scope) && !workspace.includes(name) && !scoped(row.named ?? []).includes(name)) {
      problems.push(`devDependencies has ${name}, which the table does not allow`);
    }
  }
  return problems;
}

export interface WorkspacePackage {
  readonly folder: string;
  readonly manifest: Manifest;
  /** Path inside the package, with `/`. */
  readonly files: readonly { readonly path: string; readonly text: string }[];
}

export function readWorkspace(root: string): WorkspacePackage[] {
  return readdirSync(join(root, 'packages')).map((folder) => {
    const base = join(root, 'packages', folder);
    const manifest = JSON.parse(readFileSync(join(base, 'package.json'), 'utf8')) as Manifest;
    return { folder, manifest, files: codeOf(base) };
  });
}

/** The code of a package, by its path inside. */
export function codeOf(base: string): WorkspacePackage['files'] {
  return ['src', 'test']
    .map((inside) => join(base, inside))
    .filter((inside) => existsSync(inside))
    .flatMap((inside) =>
      readdirSync(inside, { recursive: true, encoding: 'utf8' }).map((f) => join(inside, f)),
    )
    .filter((file) => /\.[cm]?[jt]sx?$/.test(file))
    .map((file) => ({ path: relative(base, file).split(sep).join('/'), text: readFileSync(file, 'utf8') }));
}
