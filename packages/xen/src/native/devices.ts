/** Opens the kernel's Xen devices, and says what is missing when one cannot be. */
import { existsSync } from 'node:fs';
import { Device, OpenFlag } from './abi.js';
import { errnoName, NativeError } from './error.js';
import type { NativeLibc } from './libc.js';

const MODULES: Readonly<Record<string, string>> = {
  [Device.events]: 'xen-evtchn',
  [Device.foreign]: 'xen-gntdev',
  [Device.grants]: 'xen-gntalloc',
  [Device.store]: 'xenfs',
};

const OPEN_FLAGS = OpenFlag.readWrite | OpenFlag.nonBlocking | OpenFlag.closeOnExec;

/** Opens a device, non-blocking. @throws NativeError `NO_XEN`, `NO_DEVICE`, `NO_RIGHT`, `SYSTEM_CALL`. */
export function openDevice(libc: NativeLibc, path: string): number {
  const descriptor = libc.open(path, OPEN_FLAGS);
  if (descriptor >= 0) return descriptor;
  const errno = errnoName(libc.errno());
  throw deviceError(path, errno, existsSync('/proc/xen') || existsSync('/sys/hypervisor/type'));
}

/** What to say about a device that did not open. */
export function deviceError(path: string, errno: string, underXen: boolean): NativeError {
  const saw = `expected to open ${path}; the kernel answered ${errno}.`;
  if (errno === 'EACCES' || errno === 'EPERM')
    return new NativeError('NO_RIGHT', `${saw} Run as root, or give this user the right to ${path}.`, errno);
  if (errno !== 'ENOENT' && errno !== 'ENODEV' && errno !== 'ENXIO')
    return new NativeError('SYSTEM_CALL', `${saw} Look into the kernel's log.`, errno);
  if (!underXen)
    return new NativeError(
      'NO_XEN',
      `${saw} This machine does not run under Xen: run it in domain 0, in a driver domain or in a guest.`,
      errno,
    );
  const module = MODULES[path];
  const remedy = module === undefined ? 'Check the path.' : `Run "modprobe ${module}".`;
  return new NativeError('NO_DEVICE', `${saw} ${remedy}`, errno);
}
