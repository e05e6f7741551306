import { describe, expect, test } from 'vitest';
import { examineXen } from '../../src/commands/doctor-xen.js';
import type { HostFiles } from '../../src/commands/doctor-xen.js';

/** A host with these files; those that begin with `!` may not be used. */
function host(files: readonly string[], contents: Readonly<Record<string, string>> = {}): HostFiles {
  return {
    exists: (path) => files.includes(path) || files.includes(`!${path}`),
    read: (path) => contents[path] ?? null,
    mayUse: (path) => files.includes(path),
  };
}

const devices = ['/dev/xen/evtchn', '/dev/xen/gntdev', '/dev/xen/gntalloc'];
const dom0 = { '/proc/xen/capabilities': 'control_d\n' };
const missing = (files: HostFiles): string[] =>
  examineXen(files).flatMap(({ what, state, remedy }) => (state === 'ok' ? [] : [`${what}: ${remedy}`]));

describe('doctor on a Xen host', () => {
  test('a machine without Xen has one row, which labs do not need', () => {
    expect(examineXen(host([]))).toMatchObject([{ what: 'Xen', state: 'missing', needed: false }]);
  });

  test('a complete domain 0 lacks nothing', () => {
    const files = host(['/proc/xen', ...devices, '/run/xenstored/socket'], dom0);
    expect(missing(files)).toEqual([]);
    expect(examineXen(files)[0]!.seen).toBe('domain 0');
  });

  test('each thing that is missing comes with what to do', () => {
    expect(
      missing(host(['/proc/xen', '/dev/xen/evtchn', '!/dev/xen/gntdev', '/sys/module/xen_netback'], dom0)),
    ).toEqual([
      '/dev/xen/gntdev: run as root, or give this user /dev/xen/gntdev',
      '/dev/xen/gntalloc: modprobe xen-gntalloc',
      'xenstore: start xenstored, or mount xenfs at /proc/xen',
      'xen-netback: modprobe -r xen-netback; blacklist it',
    ]);
  });

  test('a guest is told from domain 0', () => {
    const files = host([...devices, '/dev/xen/xenbus'], { '/sys/hypervisor/type': 'xen\n' });
    expect(examineXen(files)[0]!.seen).toMatch('a guest');
    expect(missing(files)).toEqual([]);
  });
});
