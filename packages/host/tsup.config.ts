import { defineConfig } from 'tsup';

export default defineConfig({
  entry: {
    index: 'src/index.ts',
    cli: 'src/cli.ts',
    // Programs of their own: a worker thread, and an ordinary process.
    'domain-worker': 'src/machine/domain-worker.ts',
    'tcp-peer': 'src/traffic/tcp-peer.ts',
  },
  // An optional dependency: loaded where it is installed, with its native code beside it.
  external: ['koffi'],
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
});
