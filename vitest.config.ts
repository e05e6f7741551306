import { readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

// One project per package, named after its folder, and `workspace` for the tests that look at all of them.
// A package's built dist/ is what other packages and worker threads load: build before running these.
const root = fileURLToPath(new URL('.', import.meta.url));
const packages = readdirSync(new URL('packages', import.meta.url));

export default defineConfig({
  test: {
    // A slow machine is no failure: what hangs is found all the same.
    maxWorkers: availableParallelism(),
    testTimeout: 60_000,
    hookTimeout: 60_000,
    coverage: { include: ['packages/*/dist/**/*.js'] },
    projects: [
      ...packages.map((name) => ({
        extends: true as const,
        test: { name, root: `${root}packages/${name}`, include: ['test/**/*.test.ts', 'src/**/*.test.ts'] },
      })),
      {
        extends: true as const,
        test: { name: 'simulation', root: `${root}simulation`, include: ['test/**/*.test.ts'] },
      },
      { extends: true as const, test: { name: 'workspace', root, include: ['test/**/*.test.ts'] } },
    ],
  },
});
