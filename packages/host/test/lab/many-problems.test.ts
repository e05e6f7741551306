// Lab files with several problems, which are told all at once, and files that cannot be read at all.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { LabFileError, LabLimits, loadLab, type LabProblem } from '../../src/lab/index.js';
import { errorOf, problemsOf } from './problems-of.js';

describe('several problems', () => {
  const text = `lab: 1
seed: x
hosts:
  alpha:
    gests: {}
    nic: { ports: eth5 }
  beta:
    bridge: { ports: [eth9] }
    guests:
      a: { mac: "02:00:00:00:00:01", mtu: big }
      b: { mac: "02:00:00:00:00:01", port: { pcap: x.pcap } }
wires:
  - between: [alpha.eth5, beta.eth7]
  - { between: [beta.eth0], mtu: 1 }
  - { between: [beta.eth0, beta.eth0], delay: 5 }
`;

  test('are all told at once, in the order of the file', () => {
    expect(problemsOf(text).map(({ line, code, path }) => [line, code, path])).toEqual([
      [2, 'LAB_BAD_VALUE', 'seed'],
      [5, 'LAB_UNKNOWN_KEY', 'hosts.alpha.gests'],
      [6, 'LAB_BAD_VALUE', 'hosts.alpha.nic.ports'],
      [8, 'LAB_UNKNOWN_NAME', 'hosts.beta.bridge.ports[0]'],
      [10, 'LAB_BAD_VALUE', 'hosts.beta.guests.a.mtu'],
      [11, 'LAB_DUPLICATE', 'hosts.beta.guests.b.mac'],
      [11, 'LAB_MISSING_FILE', 'hosts.beta.guests.b.port.pcap'],
      // alpha's ports are not known, so alpha.eth5 is not held against the file.
      [13, 'LAB_UNKNOWN_NAME', 'wires[0].between[1]'],
      [14, 'LAB_BAD_VALUE', 'wires[1].between'],
      [14, 'LAB_BAD_VALUE', 'wires[1].mtu'],
      [15, 'LAB_DUPLICATE', 'wires[2].between[1]'],
      [15, 'LAB_BAD_VALUE', 'wires[2].delay'],
    ]);
  });

  test('are text for people, without colour', () => {
    const error = errorOf('lab: 1\nhosts:\n  alpha: {}\n  beta: {}\n  beta: {}\n', 'labs/x.yaml');
    expect(error!.message).toBe(`labs/x.yaml: 1 problem, nothing was started

labs/x.yaml:5:3: hosts.beta: duplicate key
     5 |   beta: {}
       |   ^
  expected: each key once in its mapping
  seen:     hosts.beta a second time
  first:    labs/x.yaml:4:3: hosts.beta
  to do:    take one of them out, or rename it`);
  });

  test('are data for programs', () => {
    const error = errorOf(text);
    const { code, file, problems } = JSON.parse(JSON.stringify(error)) as LabFileError;
    expect({ code, file }).toEqual({ code: 'LAB_FILE', file: 'lab.yaml' });
    expect(problems).toEqual(error!.problems);
  });

  test('of a long line are shown around the place', () => {
    const guests = Array.from({ length: 20 }, (_, i) => `guest${i}: {}`).join(', ');
    const { message } = errorOf(`lab: 1\nhosts: { a: { guests: { ${guests}, z: { mtu: 1 } } } }\n`)!;
    const [, line, caret] = /^ +2 \| (.*)\n +\| ( *\^)$/m.exec(message)!;
    expect(line!.length).toBeLessThanOrEqual(100);
    expect(line!.slice(caret!.length - 1)).toMatch(/^1 } } } }$/);
  });

  test('beyond fifty are counted in the text and all in the data', () => {
    const many = Array.from({ length: 80 }, (_, i) => `  h${i}: { x: 1 }`).join('\n');
    const error = errorOf(`lab: 1\nhosts:\n${many}\n`)!;
    expect(error.problems).toHaveLength(80);
    expect(error.message).toMatch(/\nand 30 more$/);
  });
});

describe('files', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'netaccel-lab-'));
  });
  afterAll(() => rmSync(folder, { recursive: true }));
  const problemOf = (path: string): LabProblem => {
    try {
      loadLab(path);
    } catch (error) {
      if (error instanceof LabFileError) return error.problems[0]!;
      throw error;
    }
    throw new Error('it was read');
  };

  test('that are not there, and folders', () => {
    expect(problemOf(join(folder, 'none.yaml'))).toMatchObject({
      code: 'LAB_CANNOT_READ',
      seen: 'ENOENT',
      advice: 'check the spelling',
    });
    expect(problemOf(folder)).toMatchObject({ code: 'LAB_CANNOT_READ', seen: 'EISDIR' });
  });

  test('that have no end', () => {
    expect(problemOf('/dev/zero')).toMatchObject({
      code: 'LAB_TOO_LARGE',
      expected: `a lab file of at most ${LabLimits.fileBytes} bytes`,
    });
  });

  test('that are not UTF-8, or hold control characters', () => {
    const path = join(folder, 'binary.yaml');
    writeFileSync(path, Uint8Array.of(0x6c, 0xff, 0xfe));
    expect(problemOf(path)).toMatchObject({ code: 'LAB_NOT_YAML', expected: 'text in UTF-8' });
    writeFileSync(path, 'lab: 1\nname: a\u0000b\n');
    expect(problemOf(path)).toMatchObject({
      code: 'LAB_NOT_YAML',
      line: 2,
      column: 8,
      seen: 'the control character U+0000',
    });
  });

  test('with a byte-order mark and Windows line ends are read', () => {
    const path = join(folder, 'windows.yaml');
    writeFileSync(path, '\ufefflab: 1\r\nhosts:\r\n  alpha: {}\r\n');
    expect(loadLab(path).name).toBe('windows');
    writeFileSync(path, '\ufefflab: 1\r\nhosts:\r\n  alpha: { x: 1 }\r\n');
    expect(problemOf(path)).toMatchObject({ line: 3, column: 12 });
  });
});
