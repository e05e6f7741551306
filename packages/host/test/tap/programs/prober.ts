/** Prints what `probeTap` says here, as JSON; with the argument `enter`, enters a user namespace first. */
import { enterUserNamespace, loadLibc, probeTap } from '../../../src/tap/index.js';

if (process.argv[2] === 'enter') enterUserNamespace(await loadLibc());
process.stdout.write(`${JSON.stringify(await probeTap())}\n`);
