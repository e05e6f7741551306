/** What a lab costs when nothing happens: a process's CPU time over some seconds. */
import { WorkerLab } from '../machine/worker-lab.js';
import type { BenchCase } from './case.js';

const PAGES = 32 * 1024;
const SETTLE_MS = 1500;
const WATCH_MS = 5000;
const MTU = 1500;

/** Two hosts, a guest on each, a thread a domain, no TAPs. */
export const idleCase: BenchCase = {
  name: 'idle',
  what: 'CPU of an idle lab: two hosts, a guest on each, a thread a domain',
  run: async () => {
    const host = (name: string, guest: string, mac: string) => ({
      name,
      nic: { ports: ['eth0'], config: { ports: 1, mtu: MTU } },
      bridged: ['eth0'],
      ageingMs: 300_000,
      tap: null,
      guests: [
        {
          name: guest,
          vif: { mac, mtu: MTU, accel: 'eth0', rate: null, limits: null },
          queues: 1,
          tap: null,
        },
      ],
    });
    const lab = await WorkerLab.start({
      pages: PAGES,
      hosts: [host('alpha', 'a', '02:00:00:00:00:0a'), host('beta', 'b', '02:00:00:00:00:0b')],
      wires: [
        {
          ends: [
            [0, 0],
            [1, 0],
          ],
          settings: {},
          mtu: MTU,
        },
      ],
      merging: true,
      pluginsFrom: process.cwd(),
      log: () => undefined,
    });
    await pause(SETTLE_MS);
    const before = process.cpuUsage();
    await pause(WATCH_MS);
    const { user, system } = process.cpuUsage(before);
    await lab.stop();
    return { percentOfACore: ((user + system) / 1000 / WATCH_MS) * 100 };
  },
};

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, ms));
}
