/**
 * Says whether this machine and user can run guests on real TAP devices, and if not, what to do about it.
 * Called by `netaccel doctor` and by the demo, which then runs with synthetic frames.
 */
import { closeSync, constants, openSync } from 'node:fs';
import { TUN_DEVICE } from './abi.js';
import { TapError } from './error.js';
import { loadLibc } from './ffi.js';
import type { Libc } from './ffi.js';
import { tunRemedy } from './tap-interface.js';
import { tetherObstacle } from './tether.js';
import { mayMakeNamespaces, userNamespaceObstacle } from './user-namespace.js';

/** What a machine may lack. */
export type MissingForTap =
  /** Linux on an architecture that is known here. */
  | 'linux'
  /** The optional npm package koffi. */
  | 'koffi'
  /** The right to make network namespaces, by root or by user namespaces. */
  | 'user-namespaces'
  /** /dev/net/tun, or the right to open it. */
  | 'tun-device'
  /** The program setpriv of util-linux. */
  | 'setpriv';

/** What {@link probeTap} found. */
export type TapProbe =
  | {
      readonly available: true;
      /** Whether the program must call `enterUserNamespace` first (it may always). */
      readonly needsUserNamespace: boolean;
    }
  | {
      readonly available: false;
      readonly missing: MissingForTap;
      /** What was expected and what was seen. */
      readonly detail: string;
      /** What to do. */
      readonly remedy: string;
    };

/** Looks for everything that TAP guests need, and names the first thing that is missing. Changes nothing. */
export async function probeTap(): Promise<TapProbe> {
  let libc: Libc;
  try {
    libc = await loadLibc();
  } catch (error) {
    if (!(error instanceof TapError)) throw error;
    const missing = error.code === 'NO_KOFFI' ? 'koffi' : 'linux';
    const remedy =
      missing === 'koffi' ? 'Run "npm install koffi".' : 'Use the frames mode, or a Linux machine.';
    return { available: false, missing, detail: error.message, remedy };
  }
  const needsUserNamespace = !mayMakeNamespaces(libc);
  const forbidden = needsUserNamespace ? userNamespaceObstacle() : undefined;
  if (forbidden !== undefined) return { available: false, missing: 'user-namespaces', ...forbidden };
  const tun = tunObstacle();
  if (tun !== undefined) return { available: false, missing: 'tun-device', ...tun };
  const tether = tetherObstacle();
  if (tether !== undefined) return { available: false, missing: 'setpriv', ...tether };
  return { available: true, needsUserNamespace };
}

/** Why the TUN device cannot be opened, and what to do; undefined when it can. */
export function tunObstacle(): { detail: string; remedy: string } | undefined {
  try {
    closeSync(openSync(TUN_DEVICE, constants.O_RDWR));
    return undefined;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? String(error);
    return {
      detail: `Expected to open ${TUN_DEVICE} for reading and writing; got ${code}.`,
      remedy: tunRemedy(code),
    };
  }
}
