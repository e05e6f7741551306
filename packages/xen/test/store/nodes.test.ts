import { beforeEach, describe, expect, it } from 'vitest';
import { StoreServer, type MessageTypeName } from '../../src/store/index.js';
import { RawClient } from './raw-client.js';

let server: StoreServer;
let dom0: RawClient;

beforeEach(() => {
  server = new StoreServer();
  dom0 = new RawClient(server, 0);
});

describe('nodes', () => {
  it('start as the root alone', () => {
    expect(dom0.dump()).toEqual({ '/': ' n0|' });
  });

  it('are made with all that is missing above them, with empty values', () => {
    expect(dom0.write('/a/b/c', 'v')).toBe('OK|');
    expect(dom0.dump()).toEqual({ '/': ' n0|', '/a': ' n0|', '/a/b': ' n0|', '/a/b/c': 'v n0|' });
  });

  it('hold any bytes, also none and NULs', () => {
    expect(dom0.write('/a', 'x|y|')).toBe('OK|');
    expect(dom0.read('/a')).toBe('x|y|');
    expect(dom0.write('/a', '')).toBe('OK|');
    expect(dom0.read('/a')).toBe('');
  });

  it('are found under the own directory by relative paths', () => {
    dom0.write('/local/domain/5/device', '');
    dom0.ask('SET_PERMS', '/local/domain/5/device|n5|');
    const guest = new RawClient(server, 5);
    expect(guest.write('device/vif/0/state', '1')).toBe('OK|');
    expect(dom0.read('/local/domain/5/device/vif/0/state')).toBe('1');
    expect(dom0.write('name', 'dom0')).toBe('OK|');
    expect(dom0.read('/local/domain/0/name')).toBe('dom0');
  });

  it('keep value and children over MKDIR', () => {
    dom0.write('/a', 'v');
    dom0.write('/a/b', 'w');
    expect(dom0.ask('MKDIR', '/a|')).toBe('OK|');
    expect(dom0.ask('MKDIR', '/a/c/d|')).toBe('OK|');
    expect(dom0.read('/a')).toBe('v');
    expect(dom0.list('/a')).toEqual(['b', 'c']);
  });

  it('go with all that is under them, and nothing else goes', () => {
    for (const path of ['/a/b/c', '/a/b/d', '/a/x', '/ab']) dom0.write(path, '');
    expect(dom0.ask('RM', '/a/b|')).toBe('OK|');
    expect(Object.keys(dom0.dump()).sort()).toEqual(['/', '/a', '/a/x', '/ab']);
  });

  it('may be missing for RM if the parent is there', () => {
    dom0.write('/a', '');
    expect(dom0.ask('RM', '/a/b|')).toBe('OK|');
    expect(dom0.ask('RM', '/a/b/c|')).toBe('ENOENT');
    expect(dom0.ask('RM', '/|')).toBe('EINVAL');
  });

  it('are listed in the order they were made', () => {
    for (const name of ['z', 'a', 'm']) dom0.write(`/d/${name}`, '');
    dom0.write('/d/z', 'again');
    expect(dom0.list('/d')).toEqual(['z', 'a', 'm']);
    dom0.ask('RM', '/d/a|');
    dom0.write('/d/a', '');
    expect(dom0.list('/d')).toEqual(['z', 'm', 'a']);
    expect(dom0.ask('DIRECTORY', '/d/z|')).toBe('');
    expect(dom0.ask('DIRECTORY', '/none|')).toBe('ENOENT');
  });

  it('are listed in parts when the list is longer than a message', () => {
    const names = Array.from({ length: 1000 }, (_, at) => `child-${at}`);
    for (const name of names) dom0.write(`/d/${name}`, '');
    expect(dom0.ask('DIRECTORY', '/d|')).toBe('E2BIG');
    let list = '';
    let generations = new Set<string>();
    for (;;) {
      const part = dom0.ask('DIRECTORY_PART', `/d|${list.length}|`);
      expect(part.length).toBeLessThanOrEqual(4096);
      const [generation] = part.split('|');
      generations.add(generation!);
      list += part.slice(generation!.length + 1);
      if (list.endsWith('||')) break;
      expect(list.endsWith('|')).toBe(true);
    }
    expect(list.slice(0, -2).split('|')).toEqual(names);
    expect(generations.size).toBe(1);

    generations = new Set([...generations, dom0.ask('DIRECTORY_PART', `/d|${list.length}|`).split('|')[0]!]);
    expect(generations.size).toBe(1);
    dom0.write('/d/one-more', '');
    expect(generations.has(dom0.ask('DIRECTORY_PART', '/d|0|').split('|')[0]!)).toBe(false);
  });

  it('are not events: a special path takes permissions and watches only', () => {
    for (const type of ['READ', 'DIRECTORY', 'MKDIR', 'RM', 'WRITE'] as const)
      expect(dom0.ask(type, '@releaseDomain|')).toBe('EINVAL');
    expect(dom0.ask('DIRECTORY_PART', '@releaseDomain|0|')).toBe('EINVAL');
    expect(dom0.ask('GET_PERMS', '@releaseDomain|')).toBe('n0|');
    expect(dom0.ask('SET_PERMS', '@releaseDomain|n0|r5|')).toBe('OK|');
    expect(dom0.ask('GET_PERMS', '@releaseDomain|')).toBe('n0|r5|');
    expect(dom0.ask('GET_PERMS', '@nothing|')).toBe('ENOENT');
    expect(new RawClient(server, 6).ask('GET_PERMS', '@nothing|')).toBe('EACCES');
  });
});

describe('a malformed request is EINVAL and changes nothing', () => {
  it.each<[MessageTypeName, string]>([
    ['READ', ''],
    ['READ', '/a'],
    ['READ', '/a|x'],
    ['READ', '/a|/b|'],
    ['READ', '|'],
    ['READ', '/a//b|'],
    ['DIRECTORY', '/a'],
    ['DIRECTORY_PART', '/a|'],
    ['DIRECTORY_PART', '/a|x|'],
    ['DIRECTORY_PART', '/a|-1|'],
    ['DIRECTORY_PART', '/a|0|0|'],
    ['WRITE', ''],
    ['WRITE', '/a'],
    ['WRITE', '|value'],
    ['WRITE', '/a/|value'],
    ['MKDIR', '/b'],
    ['RM', '/a'],
    ['GET_PERMS', '/a'],
    ['SET_PERMS', '/a|'],
    ['SET_PERMS', '/a|x5|'],
    ['SET_PERMS', '/a|r99999|'],
    ['SET_PERMS', '/a/|r5|'],
    ['WATCH', '/a|'],
    ['WATCH', '/a|t|x|'],
    ['WATCH', '/a|t|1|2|'],
    ['WATCH', '/a b|t|'],
    ['WATCH', '@releaseDomain|t|2|'],
    ['UNWATCH', '/a|'],
    ['UNWATCH', '/a|t|u|'],
    ['TRANSACTION_END', ''],
    ['TRANSACTION_END', 'X|'],
    ['INTRODUCE', '5|1|'],
    ['INTRODUCE', '0|1|1|'],
    ['INTRODUCE', '5|1|0|'],
    ['INTRODUCE', '5|x|1|'],
    ['INTRODUCE', '32752|1|1|'],
    ['RELEASE', '0|'],
    ['RELEASE', 'x|'],
    ['RESUME', ''],
    ['GET_DOMAIN_PATH', '5'],
    ['GET_DOMAIN_PATH', '32752|'],
    ['IS_DOMAIN_INTRODUCED', '70000|'],
    ['SET_TARGET', '5|'],
    ['SET_FEATURE', '5|'],
    ['SET_FEATURE', '5|1|'],
    ['SET_FEATURE', '5|4294967300|'],
    ['GET_QUOTA', 'none|'],
    ['GET_QUOTA', '__proto__|'],
    ['SET_QUOTA', 'nodes|'],
    ['SET_QUOTA', 'nodes|-1|'],
    ['CONTROL', ''],
    ['CONTROL', 'none|'],
  ])('%s %j', (type, text) => {
    dom0.write('/a', 'v');
    const before = dom0.dump();
    expect(dom0.ask(type, text)).toBe('EINVAL');
    expect(dom0.dump()).toEqual(before);
    expect(server.describe().introduced).toEqual([0]);
    expect(server.check()).toEqual([]);
  });
});
