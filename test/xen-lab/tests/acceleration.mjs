// Test 7: acceleration across domains. The card and the backend plugin are in dom0, the frontend plugin in a guest;
// rings, buffers and mailbox go over real grants and event channels. Attached and detached under a TCP stream by the
// key `accel`, whose bytes are compared at the end, and under a flood whose sequence numbers are; what the backend
// holds is then what it was before.
import { spawnSync } from 'node:child_process';
import { Backend, CLI, DOM0, FrontendGuest, check, expect, run, sh, total, until } from './dom0.mjs';
import { flood } from './echoes.mjs';
import { Stream } from './stream.mjs';

const TEST = '7 acceleration';
const FLOOD = 300;

const row = (name, body) => check(TEST, 'netaccel', name, body);
const key = (guest, name) => `/local/domain/0/backend/vif/${guest.id}/0/${name}`;
const read = (path) => run('xenstore-read', [path], true).trim();

async function attach(guest, times) {
  run('xenstore-write', [key(guest, 'accel'), 'nic0']);
  // The backend's half is there first; the guest's asks it for the VI and says when that is in use.
  await until('the backend half attaches', () => read(key(guest, 'accel/state')) === '4');
  await guest.accelerator('live', times);
}

async function detach(guest) {
  run('xenstore-rm', [key(guest, 'accel')]);
  await until('the plugin detaches', () => ['6', ''].includes(read(key(guest, 'accel/state'))));
}

const backend = new Backend();
backend.network = ['--port', 'nic:far0'];
const plugin = ['--plugins-from', '/host', '--plugin', '@netaccel/dummy-accel-backend'];
await row('--option: a value that the plugin has not', () => {
  const args = [CLI, 'xen', 'backend', ...backend.network, ...plugin, '--option', 'filters=65'];
  const { status, stderr } = spawnSync('node', args, { encoding: 'utf8' });
  const said = stderr.trim().split('\n').at(-1);
  if (status === 0 || !/option filters: expected .* 0 to 64, saw .*65/.test(said))
    throw new Error(`${status}: ${said}`);
  return said.slice(0, 100);
});
await row('--option: a value that it has', () => backend.start(...plugin, '--option', 'filters=8'));
sh(`ip addr add ${DOM0}/24 dev far0`);
/** What of what the backend holds is because of guests. */
const held = async () => {
  const { grants, mappings, ports } = await backend.held();
  return { grants, mappings, ports };
};
const idle = await held();
const guest = new FrontendGuest('accel', { vif: '' });
await guest.up();
await row('interface up', async () => `${await guest.network()} s`);
const before = await held();

const stream = new Stream(guest);
await row('TCP', () => stream.moves());
let attached = 0;
for (const round of [1, 2])
  await row(`attached and detached under TCP, ${round}`, async () => {
    await attach(guest, ++attached);
    await stream.moves();
    await detach(guest);
    await stream.moves();
  });
await row('the stream is whole', () => stream.end());
await row('a flood over the fast path', async () => {
  await attach(guest, ++attached);
  return flood(guest, DOM0, FLOOD);
});
await row('a flood while it is detached', async () => {
  const said = flood(guest, DOM0, FLOOD);
  await detach(guest);
  return said;
});
const isHeld = (wanted) => async () => JSON.stringify(await held()) === JSON.stringify(wanted);
await row('the backend holds what it held before', () =>
  until('the last page is home', isHeld(before)).then(() => ''),
);
await row('a guest that holds its page at a revoke', async () => {
  await attach(guest, ++attached);
  // The process stands still: it lets go of nothing and answers nothing.
  await guest.exec('kill -STOP $(cat /tmp/pid)');
  await detach(guest);
  await until('the backend goes on without it', isHeld(before));
  await guest.exec('kill -CONT $(cat /tmp/pid)');
  await guest.accelerator('detached', attached + 1);
  return flood(guest, DOM0, FLOOD);
});
await row('frames went the fast path', async () => {
  const said = await guest.stop();
  const { accelerated } = said('stopping').state.netfront.statistics;
  if (accelerated.txFrames === 0 || accelerated.rxFrames === 0) throw new Error(JSON.stringify(accelerated));
  expect('the sum of what the guest holds', total(said('stopped').ledger), 0);
  return `${accelerated.txFrames} sent, ${accelerated.rxFrames} received`;
});
await guest.destroy();
await row('a guest is destroyed while it is accelerated', async () => {
  const crashed = new FrontendGuest('crashed', { vif: '' });
  await crashed.up();
  await crashed.network();
  await attach(crashed, 1);
  const { mappings } = await held();
  await crashed.destroy();
  await until('all is given back', isHeld(idle));
  // A page that somebody kept mapped would keep the domain: xl would list it without a name.
  expect('domains', run('xl', ['list']).trim().split('\n').length, 2);
  return `${mappings} pages were mapped, none is, and nothing is left of the domain`;
});
await row('stops', async () => {
  expect('exit code', await backend.stop(), 0);
});
console.log(`@log ${JSON.stringify(backend.said().slice(-6000))}`);
