import { defineConfig } from 'tsup';

export default defineConfig({
  entry: {
    index: 'src/index.ts',
    'netif/index': 'src/netif/index.ts',
    'store/index': 'src/store/index.ts',
    'store/socket': 'src/store/socket.ts',
    'sim/index': 'src/sim/index.ts',
    'sim/workers': 'src/sim/workers.ts',
    'native/index': 'src/native/index.ts',
    'testing/index': 'src/testing/index.ts',
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
});
