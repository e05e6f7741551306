// What a peer can make a domain say is bounded: a flood of lines costs a log so many and no more, and a count.
import type { LogLevel } from '@netaccel/core-hooks';
import { expect, test } from 'vitest';
import { LOG_LIMITS } from '../../src/index.js';
import { SimMachine } from '../../src/sim/index.js';

const { burst, perSecond } = LOG_LIMITS;

function domains() {
  const said: string[] = [];
  const log = ({ domain, level, message }: { domain: number; level: LogLevel; message: string }): void =>
    void said.push(`${domain} ${level} ${message}`);
  const machine = new SimMachine({ pages: 256, domains: 3, log });
  return { machine, said, loud: machine.createDomain(1), quiet: machine.createDomain(2) };
}

test('limit log lines: so many at once, then so many a second; how many were left out is said; others are heard', async () => {
  const { machine, said, loud, quiet } = domains();
  const flood = (lines: number): string[] => {
    said.length = 0;
    for (let n = 0; n < lines; n++) loud.log('warn', `line ${n}`);
    return [...said];
  };
  expect(flood(10_000)).toEqual(Array.from({ length: burst }, (_, n) => `1 warn line ${n}`));
  // A domain's limit is its own.
  quiet.log('error', 'in trouble');
  expect(said.at(-1)).toBe('2 error in trouble');

  await machine.advance(1000);
  const next = flood(10_000);
  expect(next[0]).toBe(`1 warn ${10_000 - burst} lines left out`);
  expect(next.slice(1)).toEqual(Array.from({ length: perSecond }, (_, n) => `1 warn line ${n}`));

  // However long it was quiet, no more than a burst.
  await machine.advance(3_600_000);
  expect(flood(10_000)).toHaveLength(1 + burst);
});
