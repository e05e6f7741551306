import { fileURLToPath } from 'node:url';
import { parseRate } from '@netaccel/netback';
import { describe, expect, it } from 'vitest';
import { loadLab, parseLab } from '../../src/lab/index.js';
import { labWarnings, LabPlanError, planLab, rateKey } from '../../src/up/plan.js';
import { labShape, nicConfig } from '../../src/up/size.js';

const TWO_HOSTS = fileURLToPath(new URL('../../labs/two-hosts.yaml', import.meta.url));
const withoutTaps = { tapOf: () => null, replay: true };

function guests(count: number, more = ''): string {
  const each = Array.from({ length: count }, (_, i) => `      g${i}: { port: memory${more} }\n`).join('');
  return `lab: 1\nhosts:\n  alpha:\n    guests:\n${each}`;
}

describe('the plan of a lab', () => {
  it('has the hosts, guests and wires of the file, and a TAP where there is one', () => {
    const lab = loadLab(TWO_HOSTS);
    const plan = planLab(lab, {
      tapOf: (host, guest) => (guest === null ? null : { name: host, descriptor: 7 }),
      replay: true,
    });
    expect(plan.hosts.map(({ name, bridged, tap }) => ({ name, bridged, tap }))).toEqual([
      { name: 'alpha', bridged: ['eth0'], tap: null },
      { name: 'beta', bridged: ['eth0'], tap: null },
    ]);
    expect(plan.hosts[1]!.guests[0]).toMatchObject({
      name: 'b',
      tap: { name: 'beta', descriptor: 7 },
      vif: { accel: 'eth0', rate: null },
    });
    expect(plan.wires).toEqual([
      {
        ends: [
          [0, 0],
          [1, 0],
        ],
        mtu: 1500,
        settings: { bitsPerSecond: 1e10, delayUs: 20 },
      },
    ]);
    expect(plan.pluginsFrom).toBe(fileURLToPath(new URL('../../labs', import.meta.url)));
  });

  it('replays capture files unless it is told not to', () => {
    const lab = parseLab('lab: 1\nhosts: { h: { guests: { a: { port: { pcap: x.pcap, loop: true } } } } }', {
      fileExists: () => true,
      directory: '/captures',
    });
    expect(planLab(lab, withoutTaps).hosts[0]!.guests[0]!.replay).toEqual({
      file: '/captures/x.pcap',
      loop: true,
    });
    expect(planLab(lab, { ...withoutTaps, replay: false }).hosts[0]!.guests[0]).not.toHaveProperty('replay');
  });

  it('writes a rate as netback reads it', () => {
    expect(rateKey(1e9)).toBe('6250000,50000');
    expect(parseRate(rateKey(1e12))).toEqual({ bytes: 6_250_000_000, usec: 50_000 });
    expect(parseRate(rateKey(1))).toEqual({ bytes: 1, usec: 50_000 });
  });

  it('gives faults a seed of their own for each wire', () => {
    const lab = parseLab(
      'lab: 1\nseed: 5\nhosts: { a: {}, b: {} }\nwires:\n' +
        '  - { between: [a.eth0, b.eth0], faults: { drop: 0.1 } }\n  - { between: [a.eth1, b.eth1], faults: { corrupt: 0.2 } }\n',
    );
    expect(planLab(lab, withoutTaps).wires.map(({ settings }) => settings.faults)).toEqual([
      { drop: 0.1, corrupt: 0, seed: 5 },
      { drop: 0, corrupt: 0.2, seed: 6 },
    ]);
  });

  it('grows with the lab', () => {
    const small = labShape(parseLab(guests(1)));
    const large = labShape(
      parseLab(
        guests(40, ', queues: 4, limits: { bufferPages: 4096 }').replace(
          'alpha:\n',
          'alpha:\n    nic: { bufferPages: 8192 }\n',
        ),
      ),
    );
    expect(small.domains).toBe(16);
    expect(large.domains).toBe(41);
    expect(large.pages).toBeGreaterThan(40 * 4096);
    expect(large.mappings).toBeGreaterThan(40 * 4096);
  });

  it('lets the NIC carry what the longest interface sends', () => {
    const lab = parseLab('lab: 1\nhosts: { a: { guests: { x: { port: memory, mtu: 9000 } } } }');
    expect(nicConfig(lab, lab.hosts[0]!, 0).mtu).toBe(9000);
  });

  it.each([
    [guests(254), /domains .*expected at most 254, saw 255/],
    [
      `lab: 1\nhosts: { a: { nic: { ports: [${Array.from({ length: 9 }, (_, i) => `p${i}`).join()}] } } }`,
      /NIC ports of a: expected at most 8, saw 9/,
    ],
    [
      'lab: 1\nhosts: { a: { nic: { filters: 5000 } } }',
      /nic\.filters of a: expected at most 4094, saw 5000/,
    ],
    [guests(200, ', queues: 16, mtu: 9000'), /expected a lab of at most 4 GiB/],
  ])('refuses what cannot be, before anything is started', (text, message) => {
    const plan = () => planLab(parseLab(text), withoutTaps);
    expect(plan).toThrow(LabPlanError);
    expect(plan).toThrow(message);
    expect(plan).toThrow(/nothing was started/);
  });

  it('warns of a guest whose frames a wire does not carry', () => {
    const text = (mtu: number): string =>
      `lab: 1\nhosts: { a: { guests: { x: { port: memory, mtu: ${mtu} } } }, b: {} }\nwires: [{ between: [a.eth0, b.eth0] }]`;
    expect(labWarnings(parseLab(text(1500)))).toEqual([]);
    expect(labWarnings(parseLab(text(9000)))).toEqual([expect.stringContaining('a.x has an mtu of 9000')]);
  });
});
