import { describe, expect, it } from 'vitest';
import { parseLab } from '../../src/lab/index.js';
import { findNamed, fullName, UnknownNameError } from '../../src/up/names.js';
import { placeGuests } from '../../src/up/placement.js';

const lab = placeGuests(
  parseLab(
    `lab: 1
hosts:
  alpha: { guests: { a: { port: memory }, web: { port: memory } } }
  beta: { guests: { a: { port: memory } } }
`,
  ),
);
const ALL = ['host', 'guest', 'port'] as const;

describe('names of things in a lab', () => {
  it.each([
    ['alpha', 'host', 'alpha'],
    ['web', 'guest', 'alpha.web'],
    ['beta.a', 'guest', 'beta.a'],
    ['vif2.0', 'guest', 'alpha.web'],
    ['beta.vif1.0', 'guest', 'beta.a'],
    ['beta.eth1', 'port', 'beta.eth1'],
  ])('%s is the %s %s', (text, kind, full) => {
    const named = findNamed(lab, text, ALL);
    expect(named.kind).toBe(kind);
    expect(fullName(named)).toBe(full);
  });

  it.each([
    ['a', /several in the lab .*; say which: alpha\.a, beta\.a/],
    ['eth0', /say which: alpha\.eth0, beta\.eth0/],
    ['alhpa', /did you mean alpha\?/],
    ['nobody', /expected a host or a guest or a NIC port .*saw nobody; there are: alpha, /],
  ])('%s is told what is wrong', (text, message) => {
    expect(() => findNamed(lab, text, ALL)).toThrow(UnknownNameError);
    expect(() => findNamed(lab, text, ALL)).toThrow(message);
  });

  it('a VI is one that its port has now', () => {
    const vis = (host: string, port: string): number[] => (host === 'alpha' && port === 'eth0' ? [0, 3] : []);
    const named = findNamed(lab, 'alpha.eth0.vi3', [...ALL, 'vi'], vis);
    expect(named).toMatchObject({ kind: 'vi', port: 'eth0', vi: 3 });
    expect(fullName(named)).toBe('alpha.eth0.vi3');
    expect(fullName(findNamed(lab, 'eth0.vi0', ['vi'], vis))).toBe('alpha.eth0.vi0');
    expect(() => findNamed(lab, 'beta.eth0.vi0', ['vi'], vis)).toThrow(/expected a VI of one .*saw beta/);
    expect(() => findNamed(lab, 'alpha.eth0.vi9', [...ALL, 'vi'], vis)).toThrow(
      /there are: alpha.eth0.vi0, alpha.eth0.vi3/,
    );
  });

  it('are looked for among what may be meant only', () => {
    expect(() => findNamed(lab, 'alpha', ['guest'])).toThrow(/expected a guest .*saw alpha/);
  });
});
