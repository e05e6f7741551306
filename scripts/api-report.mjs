// What each package exports, as one file a package in api/: the declarations as npm publishes them, without comments
// and without what is private. A change of it shows in a diff, so that none is made unnoticed.
//
//   node scripts/api-report.mjs            exits with 1 where a report differs from what the packages export
//   node scripts/api-report.mjs --update   writes the reports
//
// Reads dist/: build first.
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = join(root, 'api');
const printer = ts.createPrinter({ removeComments: true });

/**
 * The public entries of a package that have types.
 * @param {string} path its folder
 * @returns {{ name: string, entries: { specifier: string, file: string }[] }}
 */
function packageAt(path) {
  const { name, exports } = JSON.parse(readFileSync(join(path, 'package.json'), 'utf8'));
  const entries = Object.entries(/** @type {Record<string, { types?: string }>} */ (exports)).flatMap(
    ([entry, { types }]) =>
      types === undefined ? [] : [{ specifier: name + entry.slice(1), file: join(path, types) }],
  );
  return { name, entries };
}

/** @param {ts.ClassElement | ts.TypeElement} member */
function isPrivate(member) {
  const flags = ts.getCombinedModifierFlags(/** @type {ts.Declaration} */ (member));
  return (
    (flags & ts.ModifierFlags.Private) !== 0 ||
    (member.name !== undefined && ts.isPrivateIdentifier(member.name))
  );
}

/**
 * One declaration as text: no comments, nothing private, and the word `declare` left out.
 * @param {ts.Declaration} declaration
 */
function textOf(declaration) {
  /** @type {ts.Node} */
  let node = ts.isVariableDeclaration(declaration) ? declaration.parent.parent : declaration;
  if (ts.isClassDeclaration(node)) {
    const members = node.members.filter((member) => !isPrivate(member));
    node = ts.factory.updateClassDeclaration(
      node,
      node.modifiers,
      node.name,
      node.typeParameters,
      node.heritageClauses,
      members,
    );
  }
  const text = printer.printNode(ts.EmitHint.Unspecified, node, declaration.getSourceFile());
  return text.replace(/^(export )?(declare )?/, '');
}

/**
 * What an entry exports, sorted by name.
 * @param {ts.TypeChecker} checker
 * @param {ts.SourceFile} source
 */
function exportsOf(checker, source) {
  const module = checker.getSymbolAtLocation(source);
  if (module === undefined) return [];
  return checker
    .getExportsOfModule(module)
    .map((symbol) => {
      const target = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
      const texts = (target.declarations ?? []).map((declaration) => {
        if (declaration.getSourceFile().fileName.includes('/node_modules/'))
          return `${target.name}: elsewhere`;
        return textOf(declaration);
      });
      const renamed =
        target.name === symbol.name || symbol.name === 'default' ? '' : `// as ${symbol.name}\n`;
      return {
        name: symbol.name,
        text: (symbol.name === 'default' ? '// default\n' : renamed) + texts.join('\n'),
      };
    })
    .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
}

/**
 * Reports by file name.
 * @returns {Map<string, string>}
 */
export function reports() {
  const packages = readdirSync(join(root, 'packages')).map((name) => packageAt(join(root, 'packages', name)));
  const files = packages.flatMap(({ entries }) => entries.map(({ file }) => file));
  for (const file of files)
    if (!existsSync(file)) throw new Error(`${file} is not there: run "npm run build" first`);
  const program = ts.createProgram(files, {
    noEmit: true,
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    skipLibCheck: true,
    types: ['node'],
  });
  const checker = program.getTypeChecker();
  return new Map(
    packages.map(({ name, entries }) => {
      const parts = entries.map(({ specifier, file }) => {
        const source = program.getSourceFile(file);
        const found = source === undefined ? [] : exportsOf(checker, source);
        return `## ${specifier}\n\n${'```ts'}\n${found.map(({ text }) => text).join('\n\n')}\n${'```'}\n`;
      });
      const title = `# What ${name} exports\n\nWritten by \`npm run api:update\`; checked by \`npm run check:api\`.\n`;
      return [`${name.slice(name.indexOf('/') + 1)}.md`, [title, ...parts].join('\n')];
    }),
  );
}

/**
 * The first line in which two texts differ, for people.
 * @param {string} before @param {string} after
 */
function firstDifference(before, after) {
  const [a, b] = [before.split('\n'), after.split('\n')];
  const at = b.findIndex((line, i) => line !== a[i]);
  const line = at < 0 ? b.length : at;
  return `line ${line + 1}: expected ${a[line] ?? 'its end'}, saw ${b[line] ?? 'its end'}`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const now = reports();
  if (process.argv.includes('--update')) {
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder);
    for (const [file, text] of now) writeFileSync(join(folder, file), text);
    console.log(`${now.size} reports in api/`);
  } else {
    const had = new Set(existsSync(folder) ? readdirSync(folder) : []);
    for (const [file, text] of now) {
      const before = had.delete(file) ? readFileSync(join(folder, file), 'utf8') : '';
      if (before === text) continue;
      console.error(`api/${file}, ${firstDifference(before, text)}`);
      process.exitCode = 1;
    }
    for (const file of had) {
      console.error(`api/${file} is of no package`);
      process.exitCode = 1;
    }
    if (process.exitCode === 1)
      console.error(
        'What the packages export has changed. If that is meant: npm run api:update, look at the diff, and add a changeset.',
      );
    else console.log(`${now.size} API reports are what the packages export.`);
  }
}
