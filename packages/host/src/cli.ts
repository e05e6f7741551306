#!/usr/bin/env node
/** The `netaccel` command. */
import { runProgram } from './commands/program.js';
import { endWithReader } from './commands/run.js';

endWithReader();
await runProgram(process.argv.slice(2));
