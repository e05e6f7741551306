// YAML that is broken or made to hurt: bounded in time and memory, and told with its place.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { LabFileError, LabLimits, parseLab, type LabProblem } from '../../src/lab/index.js';

function problemsOf(text: string): readonly LabProblem[] {
  try {
    parseLab(text, { resolvePlugin: () => 'file:///x', listPlugins: () => [], fileExists: () => true });
  } catch (error) {
    if (error instanceof LabFileError) return error.problems;
    throw error;
  }
  return [];
}

const laughs = ['l0: &l0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]'];
for (let i = 1; i < 10; i++)
  laughs.push(
    `l${i}: &l${i} [${Array(9)
      .fill(`*l${i - 1}`)
      .join(', ')}]`,
  );

describe('YAML that is not', () => {
  test.each([
    ['an open bracket', 'lab: 1\nhosts: [\n', '3:1', 'LAB_NOT_YAML'],
    ['a tab for indentation', 'lab: 1\nhosts:\n\talpha: {}\n', '3:1', 'LAB_NOT_YAML'],
    ['an unknown tag', 'lab: 1\nhosts: !ruby/object {}\n', '2:8', 'LAB_NOT_YAML'],
    ['a second document', 'lab: 1\n---\nlab: 1\n', '2:1', 'LAB_NOT_YAML'],
    ['a key that is a list', 'lab: 1\n? [a]\n: 1\n', '2:3', 'LAB_NOT_YAML'],
    ['an alias of nothing', 'lab: 1\nhosts: *nobody\n', '2:8', 'LAB_NOT_YAML'],
    ['an alias before its anchor', 'lab: *later\nhosts: &later {}\n', '1:6', 'LAB_NOT_YAML'],
    ['an alias that contains itself', 'lab: 1\nhosts: &h { a: *h }\n', '2:16', 'LAB_ALIAS_LOOP'],
    [
      'an alias that contains itself further down',
      'lab: 1\nhosts: &h { a: { guests: { g: [*h] } } }\n',
      '2:32',
      'LAB_ALIAS_LOOP',
    ],
    ['billion laughs', laughs.join('\n'), '5:', 'LAB_TOO_LARGE'],
    ['a deep list', `lab: ${'['.repeat(100)}${']'.repeat(100)}`, '1:', 'LAB_TOO_LARGE'],
    ['a list deeper than the stack', '['.repeat(900) + '\n', '1:', 'LAB_TOO_LARGE'],
    [
      'a deep list in lines',
      Array.from({ length: 200 }, (_, i) => `${' '.repeat(i)}-`).join('\n'),
      '',
      'LAB_TOO_LARGE',
    ],
    ['a long line', `lab: 1 #${'x'.repeat(LabLimits.lineCharacters)}`, '1:1', 'LAB_TOO_LARGE'],
    // Without the bound on lines this aborts the process: the parser compiles a regular expression of that length.
    ['a line of dashes', '- '.repeat(100_000), '1:1', 'LAB_TOO_LARGE'],
    ['many values', `lab: 1\nhosts:\n${' - 1\n'.repeat(LabLimits.values)}`, '', 'LAB_TOO_LARGE'],
  ])('%s', (_, text, at, code) => {
    const problems = problemsOf(text);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatchObject({ code });
    expect(`${problems[0]!.line}:${problems[0]!.column}`.startsWith(at)).toBe(true);
  });

  test('anchors that are given twice mean what they meant where the alias stands', () => {
    const text = `lab: 1
hosts:
  a: { guests: { g: &g { mtu: 1000 }, h: *g } }
  b: &b { guests: { i: *g } }
  c: { guests: { g: &g { mtu: 2000 } } }
  d: *b
  e: { guests: { j: *g } }
`;
    const lab = parseLab(text);
    expect(lab.hosts.map(({ guests }) => guests.map((guest) => guest.mtu))).toEqual([
      [1000, 1000],
      [1000],
      [2000],
      [1000],
      [2000],
    ]);
  });
});

describe('any text', () => {
  const bits = [
    'lab: 1\n',
    'hosts:',
    ' ',
    '\n',
    '  ',
    'a: ',
    '{',
    '}',
    '[',
    ']',
    '&x ',
    '*x',
    '- ',
    '"',
    "'",
    '|',
    '>',
    '? ',
    ': ',
    '!!str ',
    '#',
    'nic',
    'guests',
    ',',
    '%',
    '---',
    'null',
    '1',
    '__proto__: ',
  ];

  test('is read or refused with places inside it', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...bits), { maxLength: 40 }), (parts) => {
        const text = parts.join('');
        const lines = text.split('\n');
        for (const { line, column } of problemsOf(text)) {
          expect(line).toBeGreaterThanOrEqual(1);
          expect(line).toBeLessThanOrEqual(lines.length);
          expect(column).toBeGreaterThanOrEqual(1);
          expect(column).toBeLessThanOrEqual(lines[line - 1]!.length + 1);
        }
      }),
      { numRuns: 2000 },
    );
  });

  test('of values of any kind at any key is read or refused', () => {
    const value = fc.letrec((tie) => ({
      any: fc.oneof(
        { maxDepth: 3 },
        fc.constantFrom(
          null,
          true,
          0,
          1,
          -1,
          1.5,
          1e300,
          '',
          'eth0',
          'alpha.eth0',
          'tap',
          '10Gb/s',
          '20us',
          'x',
        ),
        fc.array(tie('any'), { maxLength: 3 }),
        fc.dictionary(
          fc.constantFrom(
            'lab',
            'hosts',
            'nic',
            'ports',
            'bridge',
            'guests',
            'a',
            'wires',
            'between',
            'port',
            'pcap',
            'accel',
            'mac',
            'ip',
            'limits',
            'filters',
            'faults',
            'constructor',
            '__proto__',
          ),
          tie('any'),
          { maxKeys: 5 },
        ),
      ),
    })).any;
    fc.assert(
      fc.property(value, value, value, (guest, host, wire) => {
        const lab = {
          lab: 1,
          hosts: { alpha: { guests: { a: guest } }, beta: host },
          wires: [wire, { between: ['alpha.eth0', 'x.y'] }],
        };
        // JSON is YAML; one value to a line keeps lines short.
        expect(problemsOf(JSON.stringify(lab, null, 1)).length).toBeGreaterThan(0);
      }),
      { numRuns: 2000 },
    );
  });
});
