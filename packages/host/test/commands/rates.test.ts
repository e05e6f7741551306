import { describe, expect, it } from 'vitest';
import { percent, ratesBetween, scaled } from '../../src/commands/rates.js';
import { labReport } from './lab-report.js';

describe('figures for people', () => {
  it.each([
    [0, 'b/s', '0 b/s'],
    [7, 'b/s', '7 b/s'],
    [999.4, 'b/s', '999 b/s'],
    [1500, 'b/s', '1.50 kb/s'],
    [12_340_000_000, 'b/s', '12.3 Gb/s'],
    [250_000, '', '250 k'],
    [1e18, 'B', '1000000 TB'],
  ])('%d is %s', (value, unit, text) => {
    expect(scaled(value, unit)).toBe(text);
  });

  it('writes shares', () => {
    expect([percent(null), percent(0), percent(0.034), percent(0.5), percent(1)]).toEqual([
      '-',
      '0 %',
      '3.4 %',
      '50 %',
      '100 %',
    ]);
  });
});

describe('rates', () => {
  it('come from two readings: both paths, bits and frames a second, and the share of the fast one', () => {
    const before = labReport({ atUs: 1_000_000 });
    const after = labReport({
      atUs: 3_000_000,
      guest: {
        fast: { txFrames: 300, txBytes: 300_000, rxFrames: 0, rxBytes: 0 },
        slow: { txFrames: 100, txBytes: 50_000, rxFrames: 0, rxBytes: 0 },
      },
    });
    expect(ratesBetween(before, after)).toEqual({
      'alpha.a': {
        txBitsPerSecond: 1_400_000,
        rxBitsPerSecond: 0,
        txFramesPerSecond: 200,
        rxFramesPerSecond: 0,
        fastShare: 0.75,
      },
    });
  });

  it('are nothing, not less, when a counter fell, and have no share without frames', () => {
    const before = labReport({
      atUs: 0,
      guest: { fast: { txFrames: 9, txBytes: 9, rxFrames: 9, rxBytes: 9 } },
    });
    const after = labReport({ atUs: 1_000_000 });
    expect(ratesBetween(before, after)['alpha.a']).toMatchObject({ txBitsPerSecond: 0, fastShare: null });
    expect(ratesBetween(after, after)).toEqual({});
  });
});
