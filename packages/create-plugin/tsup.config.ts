import { readFileSync } from 'node:fs';
import { defineConfig } from 'tsup';

/** The version of a package of this workspace, as it is when this one is built. */
function versionOf(folder: string): string {
  const manifest = JSON.parse(
    readFileSync(new URL(`../${folder}/package.json`, import.meta.url), 'utf8'),
  ) as { version: string };
  return manifest.version;
}

export default defineConfig({
  entry: {
    index: 'src/index.ts',
    cli: 'src/cli.ts',
  },
  format: ['esm'],
  platform: 'node',
  target: 'node20.19',
  // What a new project depends on; templates.ts declares it.
  define: {
    WORKSPACE_VERSIONS: JSON.stringify({
      'core-hooks': versionOf('core-hooks'),
      'nic-vi': versionOf('nic-vi'),
      host: versionOf('host'),
      'create-plugin': versionOf('create-plugin'),
    }),
  },
  // tsup sets baseUrl for its declaration build, which TypeScript 6 calls deprecated.
  dts: { compilerOptions: { ignoreDeprecations: '6.0' } },
  splitting: true,
  treeshake: true,
  sourcemap: true,
  clean: true,
});
