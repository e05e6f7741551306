/** What `netaccel doctor` finds of a real Xen host: whether this is one, and what the daemons there would lack. */
import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import type { Finding } from './doctor-checks.js';

/** Reads of the system, so that tests can be any host. */
export interface HostFiles {
  exists(path: string): boolean;
  read(path: string): string | null;
  /** Whether this user may read and write it. */
  mayUse(path: string): boolean;
}

/** This host. */
export const thisHost: HostFiles = {
  exists: existsSync,
  read: (path) => {
    try {
      return readFileSync(path, 'utf8');
    } catch {
      return null;
    }
  },
  mayUse: (path) => {
    try {
      accessSync(path, constants.R_OK | constants.W_OK);
      return true;
    } catch {
      return false;
    }
  },
};

interface Device {
  readonly path: string;
  readonly purpose: string;
  readonly module: string;
}

/** The kernel's devices, with the module that brings each. */
const DEVICES: readonly Device[] = [
  { path: '/dev/xen/evtchn', purpose: 'netaccel xen: event channels', module: 'xen-evtchn' },
  { path: '/dev/xen/gntdev', purpose: "netaccel xen backend: guests' memory", module: 'xen-gntdev' },
  { path: '/dev/xen/gntalloc', purpose: 'netaccel xen frontend: memory for others', module: 'xen-gntalloc' },
];
const STORES = ['/run/xenstored/socket', '/var/run/xenstored/socket', '/dev/xen/xenbus'];
const CAPABILITIES = '/proc/xen/capabilities';
const KERNEL_BACKEND = '/sys/module/xen_netback';
const KERNEL_FRONTEND = '/sys/module/xen_netfront';

/** Looks at the host; one row where it is no Xen host. */
export function examineXen(host: HostFiles = thisHost): Finding[] {
  const isXen = host.exists('/proc/xen') || host.read('/sys/hypervisor/type')?.trim() === 'xen';
  if (!isXen)
    return [
      {
        what: 'Xen',
        state: 'missing',
        needed: false,
        seen: 'this machine does not run under Xen',
        purpose: 'netaccel xen',
        remedy: 'labs need none; for "netaccel xen" see docs/xen.md',
      },
    ];
  const isControl = host.read(CAPABILITIES)?.includes('control_d') === true;
  const row = (what: string, purpose: string, seen: string, remedy = ''): Finding => ({
    what,
    state: remedy === '' ? 'ok' : 'missing',
    needed: false,
    seen,
    purpose,
    remedy,
  });
  return [
    row('Xen', 'netaccel xen', isControl ? 'domain 0' : 'a guest, or a driver domain'),
    ...DEVICES.map(({ path, purpose, module }) => {
      if (!host.exists(path)) return row(path, purpose, 'not there', `modprobe ${module}`);
      if (!host.mayUse(path))
        return row(path, purpose, 'may not be used by this user', `run as root, or give this user ${path}`);
      return row(path, purpose, 'may be used');
    }),
    store(host, row),
    host.exists(KERNEL_BACKEND)
      ? row(
          'xen-netback',
          'stands in the way of a backend',
          'loaded',
          'modprobe -r xen-netback; blacklist it',
        )
      : row('xen-netback', 'stands in the way of a backend', 'not loaded'),
    ...(isControl || !host.exists(KERNEL_FRONTEND)
      ? []
      : [row('xen-netfront', 'serves the vifs that a frontend of ours would', 'loaded')]),
  ];
}

function store(
  host: HostFiles,
  row: (what: string, purpose: string, seen: string, remedy?: string) => Finding,
): Finding {
  const purpose = 'netaccel xen: the store';
  const found = STORES.filter((path) => host.exists(path));
  const usable = found.find((path) => host.mayUse(path));
  if (usable !== undefined) return row('xenstore', purpose, usable);
  return found.length === 0
    ? row('xenstore', purpose, 'no socket, no device', 'start xenstored, or mount xenfs at /proc/xen')
    : row('xenstore', purpose, `${found[0]} may not be used by this user`, 'run as root');
}
