#!/usr/bin/env node
/** The `netaccel` command. */
import { runProgram } from './commands/program.js';
import { endWithReader } from './commands/run.js';
import { inlineFramePath } from './inlining.js';

inlineFramePath();
endWithReader();
await runProgram(process.argv.slice(2));
