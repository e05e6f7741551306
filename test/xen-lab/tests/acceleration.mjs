// Test 7: acceleration across domains. The card and the backend plugin are in dom0, the frontend plugin in a guest;
// rings, buffers and mailbox go over real grants and event channels. Attached and detached under a TCP stream by the
// key `accel`, whose bytes are compared at the end; what the backend holds is then what it was before.
import { createHash } from 'node:crypto';
import { Backend, DOM0, Guest, check, expect, fileServer, pause, run, sh, until } from './dom0.mjs';

const TEST = '7 acceleration';
const ADDRESS = '10.0.0.2';
const PRODUCT = ['/lab/node', '/host/netaccel.mjs', '/host/node_modules'].flatMap((path) => ['-f', path]);

const row = (name, body) => check(TEST, 'netaccel', name, body);
const key = (guest, name) => `/local/domain/0/backend/vif/${guest.id}/0/${name}`;
const read = (path) => run('xenstore-read', [path], true).trim();
const records = async (guest) =>
  (await guest.exec('cat /tmp/log'))
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line));

const backend = new Backend();
backend.network = ['--port', 'nic:far0'];
await backend.start('--plugin', '@netaccel/dummy-accel-backend', '--plugins-from', '/host');
sh(`ip addr add ${DOM0}/24 dev far0`);
const guest = new Guest('accel', { vif: '' }, ['-m', '700', ...PRODUCT]);
await guest.up();
await row('interface up', () =>
  guest.exec(
    'echo 8192 >/sys/module/xen_gntalloc/parameters/limit; ' +
      `node /host/netaccel.mjs xen frontend --tap eth0 --address ${ADDRESS}/24 --plugins-from /host >/tmp/log 2>&1 & ` +
      `echo $! >/tmp/pid; until /bin/ping -c 1 -W 1 ${DOM0} >/dev/null; do :; done`,
    180,
  ),
);
const before = await backend.held();

const bytes = Buffer.alloc(24 * 1024 * 1024 + 1, 'netaccel');
for (let at = 0; at + 4 <= bytes.length; at += 4096) bytes.writeUInt32LE(at, at);
const hash = (data) => createHash('sha256').update(data).digest('hex');
const server = fileServer(bytes);
const down = guest.start(`nc ${DOM0} 5002 </dev/null | sha256sum`, 240);

for (const round of [1, 2])
  await row(`attached and detached under TCP, ${round}`, async () => {
    run('xenstore-write', [key(guest, 'accel'), 'nic0']);
    await until('the plugin attaches', () => read(key(guest, 'accel/state')) === '4', 60);
    await pause(2000);
    run('xenstore-rm', [key(guest, 'accel')]);
    await until('the plugin detaches', () => ['6', ''].includes(read(key(guest, 'accel/state'))), 60);
  });
await row('the stream is whole', async () => {
  const { text } = await down;
  expect('its hash', /[0-9a-f]{64}/.exec(text)?.[0], hash(bytes));
});
server.close();
await row('the backend holds what it held before', async () => {
  await until('the last page is home', async () => {
    const now = await backend.held();
    return now.grants === before.grants && now.mappings === before.mappings && now.ports === before.ports;
  });
});
await row('frames went the fast path', async () => {
  await guest.exec('p=$(cat /tmp/pid); kill $p; while kill -0 $p 2>/dev/null; do sleep 0.1; done');
  const said = await records(guest);
  const { accelerated } = said.find(({ event }) => event === 'stopping').state.netfront.statistics;
  if (accelerated.txFrames === 0 || accelerated.rxFrames === 0) throw new Error(JSON.stringify(accelerated));
  const { ledger } = said.find(({ event }) => event === 'stopped');
  expect(
    'the sum of what the guest holds',
    Object.values(ledger).reduce((sum, n) => sum + n, 0),
    0,
  );
  return `${accelerated.txFrames} sent, ${accelerated.rxFrames} received`;
});
await guest.destroy();
await row('stops', async () => {
  expect('exit code', await backend.stop(), 0);
});
