// Test 2: our frontend in a guest, on our backend and on the unmodified one of Linux: sizes of frames, a flood, TCP both
// ways, and an end that gives everything back. `netaccel xen frontend` is what the guest runs.
import {
  Backend,
  DOM0,
  FrontendGuest,
  KernelBackend,
  check,
  expect,
  makeBridge,
  run,
  total,
} from './dom0.mjs';
import { flood } from './echoes.mjs';

const TEST = '2 frontend';
/** The first address of a 64-byte frame, around a page, the MTU. */
const SIZES = [0, 1, 18, 56, 64, 511, 1024, 1400, 1471, 1472];

async function frontend(backend) {
  const { driver } = backend;
  const row = (name, body) => check(TEST, driver, name, body);
  await backend.start();
  const guest = new FrontendGuest(`front-${driver}`, backend);
  await guest.up();
  await row('interface up', async () => `${await guest.network()} s`);
  await row(`ping, ${SIZES.length} sizes`, async () => {
    const text = await guest.exec(
      `for s in ${SIZES.join(' ')}; do /bin/ping -n -q -c 1 -W 10 -s $s ${DOM0} >/tmp/p 2>&1 || echo lost $s; ` +
        'grep -q "wrong data" /tmp/p && echo wrong $s; done; true',
    );
    if (/lost|wrong/.test(text)) throw new Error(text.trim());
  });
  await row('ping flood', () => flood(guest, DOM0, 500));
  for (const [name, options] of [
    ['TCP, guest to dom0', ''],
    ['TCP, dom0 to guest', '-R'],
  ])
    await row(name, async () => {
      const text = await guest.exec(`iperf3 -c ${DOM0} -t 5 -f m ${options}`, 120);
      console.log(`@iperf ${JSON.stringify(text)}`);
      const [, rate] = /([\d.]+) Mbits\/sec +receiver/.exec(text) ?? [];
      if (!(Number(rate) > 0)) throw new Error(`nothing arrived: ${text.slice(-200)}`);
      return `${rate} Mbit/s`;
    });
  await row('stops, and holds nothing', async () => {
    const said = await guest.stop();
    expect('the sum of what it holds', total(said('stopped').ledger), 0);
  });
  await guest.destroy();
  await backend.stop();
}

makeBridge(1500);
run('iperf3', ['-s', '-D']);
// CI wants to know about a backend that no one here wrote.
if (!process.argv.includes('--quick')) await frontend(new Backend());
await frontend(new KernelBackend());
