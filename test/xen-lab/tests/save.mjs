// Test 8: a guest is saved to a file and restored from it, in another domain with another vif, under TCP: the connection
// goes on. On our backend, then on the kernel's.
import { Backend, Guest, KernelBackend, check, expect, makeBridge, run } from './dom0.mjs';
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

makeBridge();
await save(new Backend());
await save(new KernelBackend());
