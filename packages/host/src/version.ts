/** This package's version, as its package.json has it. */
import { createRequire } from 'node:module';

const { version } = createRequire(import.meta.url)('../package.json') as { version: string };

/** The version. */
export const VERSION: string = version;
