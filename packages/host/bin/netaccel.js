#!/usr/bin/env node
// The command's entry: here, and not built, so that npm links it in a clone before anything is built.
import '../dist/cli.js';
