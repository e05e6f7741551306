import { declineReasons } from '@netaccel/core-hooks';
import { describe, expect, it } from 'vitest';
import { explainText } from '../../src/commands/explain.js';
import { REASONS, reasonText } from '../../src/commands/reasons.js';
import { whySlow } from '../../src/commands/why-slow.js';
import { guestReport, explainReport } from './lab-report.js';

const { acceleration } = guestReport();
const idle = { plugin: null, version: null, contract: null, state: 'none', reason: null, detail: null };

describe('the reasons to decline', () => {
  it('are those of the contract, each with its meaning', () => {
    expect(Object.keys(REASONS)).toEqual([...declineReasons]);
  });

  it("tell a plugin's own reasons apart", () => {
    expect(reasonText('moon-phase').means).toBe("a reason of the plugin's own");
    expect(reasonText('toString').means).toBe("a reason of the plugin's own");
  });
});

describe('the addresses of a guest', () => {
  it('are told when it is held to them, and how much was dropped', () => {
    const losses = [{ where: 'netback, from the guest', what: 'spoofed', frames: 3 }];
    const held = explainText(explainReport({ addresses: ['10.77.0.11', 'fd00::11'] }, { losses }));
    expect(held).toContain('may send from  10.77.0.11, fd00::11 at its MAC address; all else is dropped');
    expect(held).toMatch(/netback, from the guest +spoofed +3/);
    expect(explainText(explainReport())).not.toContain('may send from');
  });
});

describe('the event channels of a guest', () => {
  it('are told when they are FIFO', () => {
    expect(explainText(explainReport({ eventChannels: 'fifo' }))).toContain('1 queue, FIFO event channels');
    expect(explainText(explainReport())).not.toContain('FIFO');
  });
});

describe('why a vif is slow', () => {
  it('has no answer when it is not', () => {
    expect(whySlow(explainReport())).toBeNull();
  });

  it.each([
    [
      'the driver domain is silent',
      explainReport(
        { accelerated: false },
        { host: { name: 'alpha', problem: 'it has ended', plugins: [], described: [], ports: [] } },
      ),
      /does not answer: it has ended/,
      /start the lab again/,
    ],
    [
      'the vif is not connected',
      explainReport({ accelerated: false, state: 'Closed', problem: 'fenced' }),
      /vif itself is Closed: fenced/,
      /log/,
    ],
    [
      'it is not allowed',
      explainReport({ accelerated: false, acceleration: { ...acceleration, port: null, backend: idle } }),
      /does not allow/,
      /^netaccel accel allow alpha\.a eth0$/,
    ],
    [
      'there is no plugin',
      explainReport(
        { accelerated: false, acceleration: { ...acceleration, backend: idle } },
        { host: { name: 'alpha', problem: null, plugins: [], described: [], ports: ['eth0'] } },
      ),
      /no backend plugin is loaded on alpha/,
      /^netaccel accel load alpha @netaccel\/dummy-accel-backend$/,
    ],
    [
      'the plugin of the lab file was unloaded',
      explainReport(
        { accelerated: false, acceleration: { ...acceleration, backend: idle } },
        { host: { name: 'alpha', problem: null, plugins: [], described: ['my-nic'], ports: ['eth0'] } },
      ),
      /no backend plugin is loaded on alpha/,
      /^netaccel accel load alpha my-nic$/,
    ],
    [
      'the guest lacks its half',
      explainReport({
        accelerated: false,
        acceleration: { ...acceleration, loadFailure: 'no plugin x was found' },
      }),
      /could not load nic-frontend: no plugin x was found/,
      /install it/,
    ],
    [
      'no plugin drives the port',
      explainReport({
        accelerated: false,
        acceleration: { ...acceleration, backend: { ...idle, reason: 'nobody drives it' } },
      }),
      /nobody drives it/,
      /drives eth0/,
    ],
    [
      'a half failed',
      explainReport({
        accelerated: false,
        acceleration: {
          ...acceleration,
          frontend: { ...acceleration.frontend, state: 'detached', reason: 'newDevice failed: no' },
        },
      }),
      /newDevice failed: no/,
      /tried again/,
    ],
  ])('%s', (_, report, why, todo) => {
    const answer = whySlow(report);
    expect(answer?.why).toMatch(why);
    expect(answer?.todo).toMatch(todo);
  });
});

describe('netaccel explain', () => {
  it('says by what a vif is accelerated, what was declined, what filters there are, and where frames were lost', () => {
    const text = explainText(
      explainReport(
        {
          fast: { txFrames: 90, txBytes: 90_000, rxFrames: 80, rxBytes: 80_000 },
          slow: { txFrames: 10, txBytes: 600, rxFrames: 20, rxBytes: 1200 },
          declines: { broadcast: 2, 'not-ip': 7 },
        },
        {
          filters: [
            { port: 'eth0', vi: 2, match: 'tcp 10.77.0.11:5001', hits: 80, idleMs: 1500 },
            { port: 'eth0', vi: 2, match: 'tcp 10.77.0.11:5002', hits: 0, idleMs: null },
          ],
          losses: [
            { where: "guest's VI on eth0", what: 'frames dropped for want of receive buffers', frames: 3 },
          ],
          features: [{ key: 'feature-sg', backend: '1', frontend: null, outcome: 'refused by the frontend' }],
        },
      ),
    );
    expect(text).toContain('accelerated    yes, on NIC port eth0');
    expect(text).toContain('nic-backend 1.2.3, contract 1, attached');
    expect(text).toContain('nic-frontend 1.2.4, contract 1, live');
    expect(text).toMatch(/^fast share +90 % +80 %$/m);
    expect(text.indexOf('not-ip')).toBeLessThan(text.indexOf('broadcast'));
    expect(text).toMatch(/^tcp 10\.77\.0\.11:5001 +eth0 +2 +80 +1\.50 s$/m);
    expect(text).toMatch(/^tcp 10\.77\.0\.11:5002 +eth0 +2 +0 +never hit$/m);
    expect(text).toMatch(/frames dropped for want of receive buffers +3$/m);
    expect(text).toMatch(/^feature-sg +1 +nothing +refused by the frontend$/m);
    expect(text).toContain('it can         receiveFilters 8, ipv6\n');
    expect(text).toContain('options        filters 4\n');
    expect(text).not.toContain('why not');
  });

  it('says why not, and what to do', () => {
    const text = explainText(
      explainReport({ accelerated: false, acceleration: { ...acceleration, port: null, backend: idle } }),
    );
    expect(text).toContain('accelerated    no');
    expect(text).toContain('what to do     netaccel accel allow alpha.a eth0');
    expect(text).toContain('lost: nothing');
  });
});
