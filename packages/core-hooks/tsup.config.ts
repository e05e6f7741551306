import { defineConfig } from 'tsup';
import { shipPages } from './scripts/ship-pages.js';

export default defineConfig({
  entry: {
    index: 'src/index.ts',
    'testing/index': 'src/testing/index.ts',
    'conformance/index': 'src/conformance/index.ts',
  },
  format: ['esm'],
  platform: 'node',
  target: 'node20.19',
  // tsup sets baseUrl for its declaration build, which TypeScript 6 calls deprecated.
  dts: { compilerOptions: { ignoreDeprecations: '6.0' } },
  // Code that two entries share goes to a chunk, so a class exists once whichever entry it came from.
  splitting: true,
  treeshake: true,
  sourcemap: true,
  clean: true,
  // The kit's advice names the plugin author's pages: they are where the kit is.
  onSuccess: () => shipPages('../../docs/plugin-authors', 'dist/docs'),
});
