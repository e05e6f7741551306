/** `netaccel xen`: the drivers on a real Xen host. Each half is a command of its own. */
import type { Command } from 'commander';
import { registerXenBackend } from './xen-backend.js';
import { registerXenFrontend } from './xen-frontend.js';

/** Adds the commands. */
export function registerXen(program: Command): void {
  const xen = program.command('xen').description('the drivers on a real Xen host');
  registerXenBackend(xen);
  registerXenFrontend(xen);
}
