import { describe, expect, it } from 'vitest';
import { guestRows, hostRows } from '../../src/commands/ls.js';
import { formatTable } from '../../src/commands/output.js';
import { topRows } from '../../src/commands/top.js';
import { summary } from '../../src/commands/up-summary.js';
import { doctorText } from '../../src/commands/doctor.js';
import { isNodeSupported } from '../../src/commands/doctor-checks.js';
import { guestReport, labReport } from './lab-report.js';

const { acceleration } = guestReport();

describe('a table', () => {
  it('sets figures to the right and words to the left, and ends no line with a space', () => {
    expect(
      formatTable(
        ['name', 'rate', 'n'],
        [
          ['a', '1.5 Gb/s', 7],
          ['long one', '-', 12],
        ],
      ),
    ).toBe(['name          rate   n', 'a         1.5 Gb/s   7', 'long one         -  12'].join('\n'));
  });

  it('without rows is its heads', () => {
    expect(formatTable(['a', 'b'], [])).toBe('a  b');
  });
});

describe('netaccel ls', () => {
  it('shows hosts with plugins and wires, guests with their path', () => {
    const report = labReport();
    expect(hostRows(report)).toEqual([['alpha', 'nic-backend 1.2.3', 'eth0 - beta.eth0', '10.77.0.1/24']]);
    expect(guestRows(report, {})).toEqual([
      ['alpha.a', 'vif1.0', '10.77.0.11/24', 'up', 'nic-frontend 1.2.4', '-', '-', '-'],
    ]);
  });

  it.each([
    ['not allowed', { ...acceleration, port: null }, {}],
    ['no plugin loaded', acceleration, { plugins: [] }],
    ['guest lacks the plugin', { ...acceleration, loadFailure: 'x' }, {}],
  ])('says in few words: %s', (text, changed, host) => {
    const report = labReport({ guest: { accelerated: false, acceleration: changed }, host });
    expect(guestRows(report, {})[0]![4]).toBe(`no: ${text}`);
  });

  it('shows a host and a vif that are not well', () => {
    const report = labReport({
      guest: {
        state: 'Closed',
        problem: 'the backend is fenced: it lied about the length of a frame, twice',
      },
      host: { problem: 'it has ended' },
    });
    expect(hostRows(report)[0]![1]).toBe('does not answer: it has ended');
    expect(guestRows(report, {})[0]![3]).toBe('closed: the backend is fenced: it lied about the length…');
  });

  it('counts in top what was declined and lost', () => {
    const errors = { txErrors: 1, rxErrors: 2, txDropped: 3, rxDropped: 4 };
    const row = topRows(labReport({ guest: { declines: { vlan: 2, rate: 3 }, errors } }), {})[0]!;
    expect(row.slice(-2)).toEqual(['5', '10']);
  });
});

describe('netaccel up', () => {
  it('says who is there and what can be done', () => {
    const text = summary(labReport());
    expect(text).toContain('lab test is up, process 1');
    expect(text).toContain('netaccel exec alpha.a');
    expect(text).toContain('netaccel explain alpha.a');
    expect(text).toContain('Ctrl-C takes everything down');
  });
});

describe('netaccel doctor', () => {
  const finding = { what: 'x', needed: true, seen: 'y', purpose: 'z', remedy: '' };

  it('says that labs run, or what is missing and what to do', () => {
    expect(doctorText([{ ...finding, state: 'ok' }])).toContain('labs with TAPs run here');
    const text = doctorText([
      { ...finding, state: 'missing', remedy: 'install it' },
      { ...finding, what: 'tool', state: 'missing', needed: false, remedy: 'if you want it' },
    ]);
    expect(text).toContain('x: install it');
    expect(text).toContain('tool: if you want it');
    expect(text).toContain('labs with TAPs do not run here (x)');
  });

  it.each([
    ['20.18.9', false],
    ['20.19.0', true],
    ['21.9.0', false],
    ['22.11.0', false],
    ['22.12.0', true],
    ['23.1.0', false],
    ['24.0.0', true],
    ['26.10.0', true],
  ])('knows that Node %s: %s', (version, isSupported) => {
    expect(isNodeSupported(version)).toBe(isSupported);
  });
});
