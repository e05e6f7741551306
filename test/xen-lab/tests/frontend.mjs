// Test 2: our frontend in a guest, on the unmodified backend of Linux and on ours: sizes of frames, a flood, TCP both
// ways, and an end that gives everything back. `netaccel xen frontend` is what the guest runs.
import { Backend, DOM0, Guest, KernelBackend, check, expect, makeBridge, run } from './dom0.mjs';

const TEST = '2 frontend';
const ADDRESS = '10.0.0.2';
/** What the guest needs to run it. */
const PRODUCT = ['/lab/node', '/host/netaccel.mjs', '/host/node_modules'].flatMap((path) => ['-f', path]);
/** The first address of a 64-byte frame, around a page, the MTU. */
const SIZES = [0, 1, 18, 56, 64, 511, 1024, 1400, 1471, 1472];

async function frontend(backend) {
  const { driver } = backend;
  const row = (name, body) => check(TEST, driver, name, body);
  await backend.start();
  const guest = new Guest(`front-${driver}`, backend, ['-m', '640', ...PRODUCT]);
  await guest.up();
  await row('interface up', () =>
    guest.exec(
      `node /host/netaccel.mjs xen frontend --tap eth0 --address ${ADDRESS}/24 >/tmp/log 2>&1 & echo $! >/tmp/pid; ` +
        `n=0; until /bin/ping -c 1 -W 1 ${DOM0} >/dev/null; do n=$((n+1)); [ $n -lt 60 ] || { cat /tmp/log; break; }; done; ` +
        '[ $n -lt 60 ]',
      180,
    ),
  );
  await row(`ping, ${SIZES.length} sizes`, async () => {
    const text = await guest.exec(
      `for s in ${SIZES.join(' ')}; do /bin/ping -n -q -c 1 -W 10 -s $s ${DOM0} >/tmp/p 2>&1 || echo lost $s; ` +
        'grep -q "wrong data" /tmp/p && echo wrong $s; done; true',
    );
    if (/lost|wrong/.test(text)) throw new Error(text.trim());
  });
  await row('ping flood', async () => {
    const text = await guest.exec(`/bin/ping -q -f -c 500 ${DOM0}`);
    if (!text.includes(' 0% packet loss')) throw new Error(text.trim());
    return '500 sent, 0 lost';
  });
  for (const [name, options] of [
    ['TCP, guest to dom0', ''],
    ['TCP, dom0 to guest', '-R'],
  ])
    await row(name, async () => {
      const text = await guest.exec(`iperf3 -c ${DOM0} -t 3 -f m ${options}`, 90);
      const [, rate] = /([\d.]+) Mbits\/sec +receiver/.exec(text) ?? [];
      if (!(Number(rate) > 0)) throw new Error(`nothing arrived: ${text.slice(-200)}`);
      return `${rate} Mbit/s`;
    });
  await row('stops, and holds nothing', async () => {
    const text = await guest.exec(
      'p=$(cat /tmp/pid); kill $p; while kill -0 $p 2>/dev/null; do sleep 0.1; done; grep \'"stopped"\' /tmp/log',
    );
    const { ledger } = JSON.parse(/\{.*\}/.exec(text)[0]);
    expect(
      'the sum of what it holds',
      Object.values(ledger).reduce((sum, n) => sum + n, 0),
      0,
    );
  });
  await guest.destroy();
  await backend.stop();
}

makeBridge(1500);
run('iperf3', ['-s', '-D']);
await frontend(new Backend());
await frontend(new KernelBackend());
