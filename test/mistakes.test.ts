// docs/plugin-authors/mistakes.md quotes what the code says: each quotation is held against the sources.
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { declineReasons } from '@netaccel/core-hooks';
import { describe, expect, test } from 'vitest';
import { root } from './markdown.js';

/** What stands for something else in a quotation: names, numbers, and whatever was left out. */
const VALUES =
  /\.\.\.|: |my-nic(?:\/frontend)?|\d+|alpha|eth0|filtres|filters|something else|(?:a )?\b(?:frontend|backend)\b(?: plugin)?|\b(?:newDevice|quiesce|remove)\b/;
/** Letters of a piece that is told apart from others. */
const LEAST_LETTERS = 5;

/** The sources' texts, with NUL where a value is put in, and with texts that are joined in one piece. */
const said = ['core-hooks', 'netfront', 'netback', 'host']
  .flatMap((name) => {
    const folder = join(root, 'packages', name, 'src');
    return readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts'))
      .map((file) => readFileSync(join(folder, file), 'utf8'));
  })
  .map((text) => text.replace(/['`]\s*\+\s*['`]/g, '').replace(/\$\{[^`{}]*\}/g, '\0'))
  .join('\n');

/** The first cell of each row of the tables below a heading. */
function firstCells(heading: string): string[] {
  const page = readFileSync(join(root, 'docs/plugin-authors/mistakes.md'), 'utf8');
  const part = page.split(/^## /m).find((each) => each.startsWith(heading)) ?? '';
  return part
    .split('\n')
    .filter((line) => line.startsWith('| ') && !line.startsWith('| ---'))
    .slice(1)
    .map((line) => line.split('|')[1]!.trim());
}

const quotations = ['It was never attached', 'It was attached, and taken off'].flatMap((heading) =>
  firstCells(heading).flatMap((cell) => [...cell.matchAll(/`([^`]+)`/g)].map(([, text]) => text!)),
);

describe('a quotation of docs/plugin-authors/mistakes.md', () => {
  test('there are many', () => {
    expect(quotations.length).toBeGreaterThan(20);
  });

  test.each(quotations)('is what the code says: %s', (quotation) => {
    const pieces = quotation
      .split(VALUES)
      .filter((piece) => piece.replace(/[^a-zA-Z]/g, '').length >= LEAST_LETTERS)
      .map((piece) => piece.trim());
    expect(pieces).not.toEqual([]);
    expect(pieces.filter((piece) => !said.includes(piece))).toEqual([]);
  });

  test('of a reason to decline is one of the contract', () => {
    const reasons = firstCells('It is attached').flatMap(
      (cell) => /^declined: `([^`]+)`/.exec(cell)?.[1] ?? [],
    );
    expect(reasons.length).toBeGreaterThan(2);
    expect(reasons.filter((reason) => !(declineReasons as readonly string[]).includes(reason))).toEqual([]);
  });

  test('that nobody says is found', () => {
    expect(said).not.toContain('claimed a full budgie');
    expect(said).toContain('claimed a full budget');
  });
});
