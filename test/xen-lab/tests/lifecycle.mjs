// Tests 3 and 4: what comes and goes. Interfaces attached and detached, guests that reboot and crash, a backend that is
// killed under TCP; afterwards nothing is left over.
import {
  Backend,
  DOM0,
  Guest,
  check,
  expect,
  makeBridge,
  nothingLeft,
  residueOf,
  run,
  until,
  vifInterfaces,
} from './dom0.mjs';
import { Stream } from './stream.mjs';

const ROUNDS = 10;
const KILLS = process.argv.includes('--quick') ? 1 : 3;
const backend = new Backend();
const { driver } = backend;

const residue = () => residueOf(backend);

async function attachAndDetach(guest) {
  const before = await residue();
  await check('3 lifecycle', driver, `network-attach and network-detach, ${ROUNDS} times`, async () => {
    for (let round = 0; round < ROUNDS; round++) {
      run('xl', ['network-attach', guest.name, 'script=/bin/vif-up']);
      await guest.exec(
        'until [ -e /sys/class/net/eth1 ]; do sleep 0.1; done; ip link set eth1 up; ' +
          'until [ "$(cat /sys/class/net/eth1/carrier)" = 1 ]; do sleep 0.1; done',
      );
      run('xl', ['network-detach', guest.name, '1']);
      await guest.exec('while [ -e /sys/class/net/eth1 ]; do sleep 0.1; done');
    }
    await nothingLeft(backend, before);
    return 'grants, ports, TAPs and nodes as before';
  });
  await check('3 lifecycle', driver, 'the other interface carries on', () =>
    guest.exec(`/bin/ping -q -c 3 ${DOM0}`).then(() => ''),
  );
}

async function reboot(guest) {
  await check('3 lifecycle', driver, 'a guest reboots', async () => {
    const before = await residue();
    void guest.start('reboot -f', 1).catch(() => undefined);
    await guest.up(2);
    await guest.network();
    await guest.exec(`/bin/ping -q -c 3 ${DOM0}`);
    // Another domain number, so another interface name, and the same in all else.
    const seen = await residue();
    expect('interfaces', seen.interfaces.length, 1);
    expect('what is held', { ...seen, interfaces: null }, { ...before, interfaces: null });
  });
}

/** Kills the backend again and again under TCP: each time some frames are halfway. */
async function killed(guest) {
  await check('4 kill -9', driver, `a TCP connection goes on after ${KILLS} restarts`, async () => {
    const stream = new Stream(guest);
    const addressBefore = mac(guest.id);
    for (let kill = 0; kill < KILLS; kill++) {
      await stream.moves();
      await backend.kill('SIGKILL');
      expect('interfaces go with the process', vifInterfaces(), []);
      await backend.start();
    }
    await stream.moves();
    const said = await stream.end();
    expect('the vif', mac(guest.id), addressBefore);
    return said;
  });
  await check('4 kill -9', driver, 'the interface works, untouched', () =>
    guest.exec(`/bin/ping -q -c 5 ${DOM0}`).then(() => ''),
  );
}

const mac = (id) => run('xenstore-read', [`/local/domain/0/backend/vif/${id}/0/mac`]).trim();

makeBridge();
await backend.start();
const empty = await residue();
const guest = new Guest('guest', backend, ['-c', 'on_reboot="restart"']);
await guest.up();
await check('3 lifecycle', driver, 'attached', () => guest.network());
await attachAndDetach(guest);
await killed(guest);
await reboot(guest);
await check('3 lifecycle', driver, 'a guest crashes', async () => {
  void guest.start('echo c >/proc/sysrq-trigger', 1).catch(() => undefined);
  await until('the domain is gone', () => run('xl', ['domid', 'guest'], true) === '');
  await nothingLeft(backend, empty);
  return 'nothing left';
});
await check('3 lifecycle', driver, 'the next guest is served', async () => {
  const next = new Guest('next', backend);
  await next.up();
  await next.network();
  await next.destroy();
  await nothingLeft(backend, empty);
});
await check('3 lifecycle', driver, 'stops with nothing held', async () => {
  expect('exit code', await backend.stop(), 0);
  const { ledger } = backend.lines('stopped').at(-1);
  expect(
    'ledger',
    Object.values(ledger).every((value) => value === 0),
    true,
  );
  expect('interfaces', vifInterfaces(), []);
});
console.log(`@log ${JSON.stringify(backend.said().split('\n').slice(-60).join('\n'))}`);
