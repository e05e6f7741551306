/**
 * How an ordinary user gets the right to make network namespaces: the process replaces itself by
 * `unshare -U -r -n node ...`, the same program with the same arguments as root of a user namespace.
 *
 * The kernel lets only a single-threaded process enter a user namespace, and Node never is one; so the new
 * image enters before Node starts. The process keeps its number, terminal and parent: nobody forwards
 * signals, and there is no second process to clean up. A process that has the right already is left alone.
 *
 * In the new namespace the process has no network but what the lab makes (Unix sockets by path work), and
 * root there has the rights of the user who started it on files.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { isMainThread } from 'node:worker_threads';
import { CLONE_NEWNET, Fcntl, OpenFlag, TUN_DEVICE } from './abi.js';
import { TapError, errnoName } from './error.js';
import type { Libc } from './ffi.js';

/** Set across the replacement, so that it happens once. */
const ENTERED = 'NETACCEL_IN_USER_NAMESPACE';
const THREAD_NAMESPACE = '/proc/thread-self/ns/net';
const STANDARD_DESCRIPTORS = [0, 1, 2];

/** Settings of distributions that forbid user namespaces: value that forbids, and what lifts it. */
const RESTRICTIONS = [
  {
    path: '/proc/sys/kernel/apparmor_restrict_unprivileged_userns',
    forbids: '1',
    remedy: 'Run "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0", or start as root.',
  },
  {
    path: '/proc/sys/kernel/unprivileged_userns_clone',
    forbids: '0',
    remedy: 'Run "sudo sysctl kernel.unprivileged_userns_clone=1", or start as root.',
  },
  {
    path: '/proc/sys/user/max_user_namespaces',
    forbids: '0',
    remedy: 'Run "sudo sysctl user.max_user_namespaces=10000", or start as root.',
  },
] as const;

/** Whether this thread may make network namespaces and come back from them. */
export function mayMakeNamespaces(libc: Libc): boolean {
  const home = libc.open(THREAD_NAMESPACE, OpenFlag.readOnly | OpenFlag.closeOnExec);
  if (home < 0) return false;
  // Entering where one already is changes nothing, and asks for just the rights that coming back needs.
  const allowed = libc.setns(home, CLONE_NEWNET) === 0;
  libc.close(home);
  return allowed;
}

/** Why this user cannot make a user namespace, and what to do; undefined when it works. */
export function userNamespaceObstacle(): { detail: string; remedy: string } | undefined {
  const tried = spawnSync('unshare', ['-U', '-r', '-n', 'true'], { encoding: 'utf8' });
  if (tried.status === 0) return undefined;
  if (tried.error !== undefined) {
    return {
      detail: `Expected the program "unshare" in PATH; starting it failed: ${tried.error.message}.`,
      remedy: 'Install util-linux, or start as root.',
    };
  }
  const restriction = RESTRICTIONS.find(({ path, forbids }) => readSetting(path) === forbids);
  const said = tried.stderr.trim();
  return {
    detail: `"unshare -U -r -n true" ended with ${tried.status ?? tried.signal ?? 'no status'}: ${said}`,
    remedy:
      restriction?.remedy ??
      'Allow user namespaces to this user (in a container: run it with the SYS_ADMIN and NET_ADMIN ' +
        `capabilities and --device ${TUN_DEVICE}), or start as root.`,
  };
}

function readSetting(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return undefined;
  }
}

/**
 * Returns when this process may make network namespaces. Otherwise it starts the same program anew as root of
 * a user namespace, and does not return. Call it first of all: what the program did so far is done again, and
 * descriptors other than 0, 1, 2 are closed, a `fork()` channel too.
 * @throws TapError `NO_USER_NAMESPACE` when that is not possible either.
 */
export function enterUserNamespace(libc: Libc): void {
  const entered = process.env[ENTERED] !== undefined;
  // Not for the processes that this one starts.
  Reflect.deleteProperty(process.env, ENTERED);
  if (mayMakeNamespaces(libc)) return;
  const obstacle = entered
    ? {
        detail:
          'This process is root of a user namespace, and still the kernel refuses it network namespaces.',
        remedy: 'A security module forbids it: look into the kernel log, or start as root.',
      }
    : userNamespaceObstacle();
  if (obstacle !== undefined)
    throw new TapError('NO_USER_NAMESPACE', `${obstacle.detail} ${obstacle.remedy}`);
  if (!isMainThread) {
    throw new TapError(
      'NO_USER_NAMESPACE',
      'A worker thread cannot replace the process. Call enterUserNamespace in the main thread first.',
    );
  }
  // Node marks the standard descriptors to be closed when another program starts in its place.
  for (const descriptor of STANDARD_DESCRIPTORS) libc.fcntl(descriptor, Fcntl.setDescriptorFlags, 0);
  process.env[ENTERED] = '1';
  const self = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  libc.execvp('unshare', ['unshare', '-U', '-r', '-n', ...self]);
  const name = errnoName(libc.errno());
  throw new TapError(
    'NO_USER_NAMESPACE',
    `Replacing this process by "unshare" failed: ${name}. Start as root.`,
    name,
  );
}
