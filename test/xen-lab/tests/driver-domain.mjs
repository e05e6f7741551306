// Test 6: our backend in a driver domain beside the kernel's in dom0: a guest with an interface on each, and both work
// at the same time. Then the driver domain's backend ends in order.
import { DOM0, Guest, KernelBackend, PRODUCT, check, expect, makeBridge, sh, total } from './dom0.mjs';
import { allAnswered } from './echoes.mjs';

const TEST = '6 driver domain';
const FAR = '10.0.1.1';
const row = (name, body) => check(TEST, 'netaccel', name, body);

const kernel = new KernelBackend();
makeBridge(1500);
kernel.start();
const driver = new Guest('drv', null, [...PRODUCT, '-c', 'driver_domain = 1']);
await driver.up();
await row('the backend starts in it', async () => {
  await driver.exec(
    'modprobe bridge; ip link add xenbr1 type bridge; ip link set xenbr1 up; ' +
      `ip addr add ${FAR}/24 dev xenbr1; node /host/netaccel.mjs xen backend --bridge xenbr1 >/tmp/log 2>&1 & ` +
      `echo $! >/tmp/pid; until grep -q '"started"' /tmp/log; do sleep 1; done`,
  );
});
const guest = new Guest('guest', kernel, ['-v', 'backend=drv']);
await guest.up();
await row('an interface on each backend', async () => {
  await guest.network();
  await guest.exec(
    `ip link set eth1 up; ip addr add 10.0.1.2/24 dev eth1; until /bin/ping -c 1 -W 1 ${FAR} >/dev/null; do :; done`,
  );
});
await row('floods on both at the same time, 300 each', () => {
  const ping = (address) => `/bin/ping -q -f -c 300 ${address}`;
  return allAnswered(
    () => guest.exec('cat /proc/net/snmp'),
    600,
    async () => void (await guest.exec(`${ping(DOM0)} & ${ping(FAR)}; wait`)),
  );
});
await row('frames that fill the MTU', () =>
  guest.exec(`/bin/ping -q -c 5 -M do -s 1472 ${FAR}`).then(() => ''),
);
await guest.destroy();
await row('the backend ends, and holds nothing', async () => {
  const text = await driver.exec(
    'p=$(cat /tmp/pid); kill $p; while kill -0 $p 2>/dev/null; do sleep 0.2; done; cat /tmp/log',
  );
  console.log(`@driver ${JSON.stringify(text.slice(-3000))}`);
  expect('the sum of what it holds', total(JSON.parse(/\{.*"stopped".*\}/.exec(text)[0]).ledger), 0);
});
await driver.destroy();
sh('true');
