// Puts into one folder what the lab's dom0 and guests run: the tests, and the product as one file with its FFI library.
// Hundreds of small files through the emulated file system would take longer to load than the tests take to run.
import { cpSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'tsup';

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, '../..');

/** The commands of `netaccel` for a Xen host, and nothing of its labs. */
const ENTRY = `import { Command } from 'commander';
import { registerXen } from '${root}/packages/host/src/commands/xen.ts';
import { registerDoctor } from '${root}/packages/host/src/commands/doctor.ts';
const program = new Command('netaccel').enablePositionalOptions();
registerXen(program.exitOverride());
registerDoctor(program);
await program.parseAsync(process.argv.slice(2), { from: 'user' });
`;

/** Plugins that tests load, by the names of their packages. */
const PLUGINS = ['dummy-accel-frontend', 'dummy-accel-backend'];

/** Fills `folder`. The workspace must be built: its packages are taken from their dist. */
export async function stage(folder) {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(join(folder, 'node_modules'), { recursive: true });
  const entry = join(root, 'packages/host/node_modules/.xen-lab-entry.ts');
  mkdirSync(dirname(entry), { recursive: true });
  writeFileSync(entry, ENTRY);
  await bundle({ netaccel: entry }, folder, '.mjs');
  rmSync(entry);
  await bundle({ hostile: join(here, 'guest/hostile.mjs') }, folder, '.mjs');
  for (const plugin of PLUGINS) {
    const from = join(root, 'packages', plugin);
    const to = join(folder, 'node_modules/@netaccel', plugin);
    await bundle({ index: join(from, 'src/index.ts') }, join(to, 'dist'), '.js');
    cpSync(join(from, 'package.json'), join(to, 'package.json'));
  }
  const koffi = join(root, 'node_modules/koffi');
  cpSync(koffi, join(folder, 'node_modules/koffi'), { recursive: true });
  const native = join(koffi, '../@koromix/koffi-linux-x64');
  cpSync(native, join(folder, 'node_modules/@koromix/koffi-linux-x64'), { recursive: true });
  cpSync(join(here, 'tests'), join(folder, 'tests'), { recursive: true });
}

/** One file with all that it imports. */
async function bundle(entry, outDir, extension) {
  await build({
    config: false,
    entry,
    outDir,
    clean: false,
    format: ['esm'],
    platform: 'node',
    target: 'node20.19',
    noExternal: [/./],
    external: ['koffi'],
    splitting: false,
    minify: true,
    silent: true,
    dts: false,
    outExtension: () => ({ js: extension }),
    // Packages that are CommonJS ask for Node's own modules by require.
    banner: {
      js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);",
    },
  });
}
