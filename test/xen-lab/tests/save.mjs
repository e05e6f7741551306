// Test 8: a guest is saved to a file and restored from it, in another domain with another vif, under TCP: the connection
// goes on. A guest with our frontend, which comes back by itself, and takes an accelerator before and after; then one with
// Linux's, on our backend and on the kernel's.
import { rmSync } from 'node:fs';
import {
  Backend,
  DOM0,
  FrontendGuest,
  Guest,
  KernelBackend,
  check,
  expect,
  makeBridge,
  run,
  sh,
  until,
} from './dom0.mjs';
import { Stream } from './stream.mjs';

const IMAGE = '/tmp/image';

async function save(backend) {
  const { driver } = backend;
  const row = (name, body) => check('8 save', driver, name, body);
  await backend.start();
  const guest = new Guest(`save-${driver}`, backend);
  await guest.up();
  await row('interface up', () => guest.network());
  const held = backend instanceof Backend ? await backend.held() : null;
  const stream = new Stream(guest);
  await stream.moves();
  await row('saved and restored', async () => {
    const before = guest.id;
    run('xl', ['save', guest.name, IMAGE]);
    run('xl', ['restore', IMAGE]);
    guest.moved();
    return `domain ${before}, then ${guest.id}`;
  });
  await row('its TCP connection goes on', async () => {
    await stream.moves();
    return stream.end();
  });
  if (held !== null)
    await row('the backend holds what it held', async () => expect('it', await backend.held(), held));
  await guest.destroy();
  await row('stops', async () => {
    expect('exit code', await backend.stop(), 0);
  });
}

/** MiB of a guest that runs the product and whose image dom0 has room for. */
const MEMORY = '500';

/** Our frontend in a guest, on the model card of our backend. */
async function saveFrontend() {
  const backend = new Backend();
  backend.network = ['--port', 'nic:far0'];
  const row = (name, body) => check('8 save', 'frontend', name, body);
  await backend.start('--plugins-from', '/host', '--plugin', '@netaccel/dummy-accel-backend');
  sh(`ip addr add ${DOM0}/24 dev far0`);
  const guest = new FrontendGuest('save-frontend', backend, ['-m', MEMORY]);
  await guest.up();
  await row('interface up', async () => `${await guest.network()} s`);
  const held = await backend.held();
  const key = (name) => `/local/domain/0/backend/vif/${guest.id}/0/${name}`;
  const state = () => run('xenstore-read', [key('accel/state')], true).trim();
  let attached = 0;
  const attach = async () => {
    run('xenstore-write', [key('accel'), 'nic0']);
    await until('the backend half attaches', () => state() === '4');
    await guest.accelerator('live', ++attached);
  };
  const detach = async () => {
    run('xenstore-rm', [key('accel')]);
    await until('the plugin detaches', () => ['6', ''].includes(state()));
  };
  const move = async () => {
    const before = guest.id;
    run('xl', ['save', guest.name, IMAGE]);
    run('xl', ['restore', IMAGE]);
    rmSync(IMAGE);
    guest.moved();
    return `domain ${before}, then ${guest.id}`;
  };
  const stream = new Stream(guest);
  await stream.moves();
  await row('saved and restored', move);
  await row('its TCP connection goes on', () => stream.moves());
  await row('accelerated, then detached', async () => {
    await attach();
    await stream.moves();
    await detach();
  });
  await row('saved and restored again', move);
  await row('accelerated again', async () => {
    await stream.moves();
    await attach();
    await stream.moves();
    await detach();
  });
  await row('the stream is whole', () => stream.end());
  await row('the backend holds what it held', () =>
    until('the last page is home', async () => {
      const now = await backend.held();
      return ['grants', 'mappings', 'ports'].every((what) => now[what] === held[what]);
    }).then(() => ''),
  );
  await row('its kernel has nothing to say', async () => {
    const said = await guest.exec("dmesg | grep -E 'BUG|WARNING|Call Trace' || true");
    expect('the kernel log', said.trim(), '');
  });
  console.log(`@frontend ${JSON.stringify((await guest.exec('cat /tmp/log')).split('\n'))}`);
  console.log(`@log ${JSON.stringify(backend.said().slice(-6000))}`);
  await guest.destroy();
  await row('stops', async () => {
    expect('exit code', await backend.stop(), 0);
  });
}

// First, for the kernel's driver stays once it is loaded, and would serve the same vifs.
await saveFrontend();
makeBridge();
await save(new Backend());
await save(new KernelBackend());
