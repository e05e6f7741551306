/** The single checks of `netaccel doctor`. Each looks and changes nothing. */
import { spawnSync } from 'node:child_process';
import { availableParallelism, freemem, totalmem } from 'node:os';
import { CONTRACT_VERSION } from '@netaccel/core-hooks';
import { runningLabs } from '../control/socket.js';
import { loadPlugin } from '../plugins.js';
import { loadLibc, TapError } from '../tap/index.js';
import type { Libc } from '../tap/index.js';
import { tunObstacle } from '../tap/probe.js';
import { tetherObstacle } from '../tap/tether.js';
import { mayMakeNamespaces, userNamespaceObstacle } from '../tap/user-namespace.js';
import { examineXen } from './doctor-xen.js';

/** What one check found. */
export interface Finding {
  /** What was looked at. */
  readonly what: string;
  readonly state: 'ok' | 'missing';
  /** Whether labs with TAPs cannot run without it. */
  readonly needed: boolean;
  /** What was seen. */
  readonly seen: string;
  /** What it is for. */
  readonly purpose: string;
  /** What to do; empty when nothing is missing. */
  readonly remedy: string;
}

/** Node versions that are supported: major, and the least minor of it; later majors all are. */
const NODE_VERSIONS = [
  [20, 19],
  [22, 12],
] as const;
const LEAST_LATER_MAJOR = 24;
const LEAST_CPUS = 2;
const LEAST_FREE_BYTES = 512 * 2 ** 20;
const GIB = 2 ** 30;

/** Whether a version of Node is one of those that are supported. */
export function isNodeSupported(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major >= LEAST_LATER_MAJOR || NODE_VERSIONS.some(([m, least]) => major === m && minor >= least);
}

/** Runs all checks. */
export async function examine(): Promise<Finding[]> {
  const libc = await libcOrReason();
  return [
    node(),
    koffi(libc),
    namespaces(libc),
    found('TUN device', 'guests with a kernel network stack', tunObstacle(), 'may be opened'),
    found('setpriv', 'programs in guests that end with the lab', tetherObstacle(), 'found'),
    cpus(),
    memory(),
    await plugin('@netaccel/dummy-accel-backend', 'backend'),
    await plugin('@netaccel/dummy-accel-frontend', 'frontend'),
    tool('nsenter', ['--version'], 'netaccel exec', 'install util-linux'),
    tool('iperf3', ['--version'], 'traffic of your own in guests', 'install iperf3, if you want it'),
    tool('tshark', ['--version'], 'reading captures', 'install tshark or Wireshark, if you want it'),
    await labs(),
    ...examineXen(),
  ];
}

function node(): Finding {
  const version = process.versions.node;
  const isOk = isNodeSupported(version);
  return {
    what: 'Node.js',
    state: isOk ? 'ok' : 'missing',
    needed: true,
    seen: version,
    purpose: 'everything',
    remedy: isOk ? '' : 'install Node.js 20.19, 22.12, 24 or later',
  };
}

async function libcOrReason(): Promise<Libc | TapError> {
  try {
    return await loadLibc();
  } catch (error) {
    if (error instanceof TapError) return error;
    throw error;
  }
}

function koffi(libc: Libc | TapError): Finding {
  const isMissing = libc instanceof TapError;
  return {
    what: isMissing && libc.code === 'UNSUPPORTED_PLATFORM' ? 'Linux' : 'koffi',
    state: isMissing ? 'missing' : 'ok',
    needed: true,
    seen: isMissing
      ? `${process.platform} on ${process.arch}`
      : `loads, ${process.platform} on ${process.arch}`,
    purpose: 'calls into the C library, for TAPs and namespaces',
    remedy: isMissing ? libc.message : '',
  };
}

function namespaces(libc: Libc | TapError): Finding {
  const purpose = "guests' networks, without root";
  if (libc instanceof TapError)
    return {
      what: 'network namespaces',
      state: 'missing',
      needed: true,
      seen: 'cannot be tried',
      purpose,
      remedy: 'mend the one above first',
    };
  if (mayMakeNamespaces(libc))
    return found('network namespaces', purpose, undefined, 'allowed to this process');
  return found('network namespaces', purpose, userNamespaceObstacle(), 'allowed in a user namespace');
}

function found(
  what: string,
  purpose: string,
  obstacle: { detail: string; remedy: string } | undefined,
  seen: string,
): Finding {
  return {
    what,
    state: obstacle === undefined ? 'ok' : 'missing',
    needed: true,
    seen: obstacle?.detail ?? seen,
    purpose,
    remedy: obstacle?.remedy ?? '',
  };
}

function cpus(): Finding {
  const count = availableParallelism();
  const isOk = count >= LEAST_CPUS;
  return {
    what: 'CPUs',
    state: isOk ? 'ok' : 'missing',
    needed: false,
    seen: String(count),
    purpose: 'a thread for each domain',
    remedy: isOk ? '' : `labs run, but slowly: give this machine ${LEAST_CPUS} or more`,
  };
}

function memory(): Finding {
  const isOk = freemem() >= LEAST_FREE_BYTES;
  return {
    what: 'memory',
    state: isOk ? 'ok' : 'missing',
    needed: false,
    seen: `${(freemem() / GIB).toFixed(1)} of ${(totalmem() / GIB).toFixed(1)} GiB free`,
    purpose: 'some tens of MiB for each domain',
    remedy: isOk ? '' : 'end something else, or run small labs',
  };
}

async function plugin(name: string, kind: 'frontend' | 'backend'): Promise<Finding> {
  const row = { what: name, needed: false, purpose: `the reference plugin, ${kind} half` };
  try {
    const { version, contract } = await loadPlugin(name, kind);
    return {
      ...row,
      state: 'ok',
      seen: `${version}, contract ${contract} (host: ${CONTRACT_VERSION})`,
      remedy: '',
    };
  } catch (error) {
    return {
      ...row,
      state: 'missing',
      seen: 'does not load',
      remedy: error instanceof Error ? error.message : String(error),
    };
  }
}

function tool(name: string, args: readonly string[], purpose: string, remedy: string): Finding {
  const tried = spawnSync(name, args, { encoding: 'utf8' });
  const isOk = tried.error === undefined;
  return {
    what: name,
    state: isOk ? 'ok' : 'missing',
    needed: false,
    seen: isOk ? (tried.stdout.split('\n')[0] ?? '').trim().slice(0, 60) : 'not found',
    purpose,
    remedy: isOk ? '' : remedy,
  };
}

async function labs(): Promise<Finding> {
  const row = { what: 'running labs', needed: false, purpose: 'netaccel ls, explain, accel, capture' };
  try {
    const live = await runningLabs();
    return { ...row, state: 'ok', seen: live.length === 0 ? 'none' : live.join(', '), remedy: '' };
  } catch (error) {
    return {
      ...row,
      state: 'missing',
      seen: 'cannot be looked for',
      remedy: error instanceof Error ? error.message : String(error),
    };
  }
}
