/**
 * Paths of the store: which are valid, and what a relative one means (xenstore.txt, "Paths").
 *
 * The server makes each path of a request canonical before anything else looks at it; after that a path is
 * absolute (`/`, `/a/b`) or special (`@releaseDomain`), and cutting it at its slashes is safe.
 */
import { StoreError } from './error.js';

/** Limits on a path, in bytes (xs_wire.h) and in names. */
export const PATH_LIMITS = {
  /** A path that starts with a slash, and a relative one once resolved (`XENSTORE_ABS_PATH_MAX`). */
  absoluteBytes: 3072,
  /** A relative path as it was sent (`XENSTORE_REL_PATH_MAX`). */
  relativeBytes: 2048,
  /** Names in a path. Ours: paths in use have about ten (XSA-418 is what depth did to others). */
  depth: 128,
} as const;

/** Events that the store invents. */
export const SPECIAL_PATHS = {
  /** A domain came. */
  introduce: '@introduceDomain',
  /** A domain went, or shut down. */
  release: '@releaseDomain',
} as const;

const ALLOWED = /^[-A-Za-z0-9/_@]+$/;

/** `/local/domain/<domid>`: what relative paths of that domain are under. */
export function domainPath(domid: number): string {
  return `/local/domain/${domid}`;
}

/** Whether a path as sent is relative to the sender's own directory. */
export function isRelative(path: string): boolean {
  return !path.startsWith('/') && !path.startsWith('@');
}

/** Whether a path names a special event, not a node of the tree. */
export function isSpecial(path: string): boolean {
  return path.startsWith('@');
}

function problemOf(path: string, full: string): string | undefined {
  if (path === '') return 'is empty';
  if (!ALLOWED.test(path)) return 'has a character other than letters, digits, - / _ @';
  if (isRelative(path) && path.length > PATH_LIMITS.relativeBytes)
    return `is relative and longer than ${PATH_LIMITS.relativeBytes} bytes`;
  if (full.length > PATH_LIMITS.absoluteBytes) return `is longer than ${PATH_LIMITS.absoluteBytes} bytes`;
  if (full.endsWith('/') && full !== '/') return 'ends in a slash';
  if (full.includes('//')) return 'has a doubled slash';
  // No shorter path has as many slashes.
  if (full.length > PATH_LIMITS.depth && full.split('/').length - 1 > PATH_LIMITS.depth)
    return `has more than ${PATH_LIMITS.depth} names`;
  return undefined;
}

/**
 * The canonical form of a path sent by `domid`: absolute, or special.
 * @throws StoreError `EINVAL` for a path that breaks a rule. Never throws anything else (XSA-481).
 */
export function canonicalPath(path: string, domid: number): string {
  const full = isRelative(path) ? `${domainPath(domid)}/${path}` : path;
  const problem = problemOf(path, full);
  if (problem === undefined) return full;
  const shown = path.length > 80 ? `${path.slice(0, 80)}...` : path;
  throw new StoreError('EINVAL', `the path ${JSON.stringify(shown)} ${problem}`);
}

/** The canonical path's parent; undefined for `/` and for a special path. */
export function parentOf(path: string): string | undefined {
  const slash = path.lastIndexOf('/');
  if (slash < 0 || path === '/') return undefined;
  return slash === 0 ? '/' : path.slice(0, slash);
}

/** The last name of a canonical path; empty for `/`. */
export function leafOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

/** The path of `name` in the directory `path`. */
export function childOf(path: string, name: string): string {
  return path === '/' ? `/${name}` : `${path}/${name}`;
}

/** How many names a canonical path has: 0 for `/`. */
export function depthOf(path: string): number {
  return path === '/' ? 0 : path.split('/').length - 1;
}
