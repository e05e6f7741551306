#!/usr/bin/env node
/** `npm create @netaccel/plugin`: asks what is not said by flags, and makes the project. */
import { main } from './main.js';

process.exitCode = await main(process.argv.slice(2));
