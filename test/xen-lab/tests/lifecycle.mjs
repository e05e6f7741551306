// Tests 3 and 4: what comes and goes. Interfaces attached and detached, guests that reboot and crash, a backend that is
// killed under TCP; afterwards nothing is left over.
import {
  Backend,
  DOM0,
  Guest,
  check,
  expect,
  makeBridge,
  run,
  until,
  vifInterfaces,
  vifNodes,
} from './dom0.mjs';

const ROUNDS = 10;
const backend = new Backend();
const { driver } = backend;

const residue = async () => ({ ...(await backend.held()), interfaces: vifInterfaces(), nodes: vifNodes() });

/** Waits until nothing is held but what was held before: the last steps of an end take a moment. */
async function nothingLeft(before) {
  let seen;
  await until(
    'all is given back',
    async () => {
      seen = await residue();
      return JSON.stringify(seen) === JSON.stringify(before);
    },
    30,
  ).catch(() => {
    expect('what is held', seen, before);
  });
}

async function attachAndDetach(guest) {
  const before = await residue();
  await check('3 lifecycle', driver, `network-attach and network-detach, ${ROUNDS} times`, async () => {
    for (let round = 0; round < ROUNDS; round++) {
      run('xl', ['network-attach', guest.name, 'script=/bin/vif-up']);
      await guest.exec(
        'until [ -e /sys/class/net/eth1 ]; do sleep 0.1; done; ip link set eth1 up; ' +
          'until [ "$(cat /sys/class/net/eth1/carrier)" = 1 ]; do sleep 0.1; done',
        30,
      );
      run('xl', ['network-detach', guest.name, '1']);
      await guest.exec('while [ -e /sys/class/net/eth1 ]; do sleep 0.1; done', 30);
    }
    await nothingLeft(before);
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

async function killed(guest) {
  await check('4 kill -9', driver, 'a TCP connection goes on after a restart', async () => {
    const transfer = guest.start(`iperf3 -c ${DOM0} -t 20 -i 1 -f m`);
    await until('load', () => backend.lines('load').length > 0, 30);
    const addressBefore = await mac(guest.id);
    await backend.kill('SIGKILL');
    expect('interfaces go with the process', vifInterfaces(), []);
    await backend.start();
    const { code, text } = await transfer;
    expect('exit code', code, 0);
    const rates = [...text.matchAll(/([\d.]+) Mbits\/sec\s+\d+\s/g)].map(([, rate]) => Number(rate));
    if (!(rates.at(-2) > 0)) throw new Error(`nothing went through at the end: ${text.slice(-300)}`);
    expect('the vif', await mac(guest.id), addressBefore);
    return `seconds with traffic: ${rates.slice(0, -1).filter((rate) => rate > 0).length} of ${rates.length - 1}`;
  });
  await check('4 kill -9', driver, 'the interface works, untouched', () =>
    guest.exec(`/bin/ping -q -c 5 ${DOM0}`).then(() => ''),
  );
}

const mac = (id) => run('xenstore-read', [`/local/domain/0/backend/vif/${id}/0/mac`]).trim();

makeBridge();
run('iperf3', ['-s', '-D']);
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
  await until('the domain is gone', () => run('xl', ['domid', 'guest'], true) === '', 60);
  await nothingLeft(empty);
  return 'nothing left';
});
await check('3 lifecycle', driver, 'the next guest is served', async () => {
  const next = new Guest('next', backend);
  await next.up();
  await next.network();
  await next.destroy();
  await nothingLeft(empty);
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
console.log(`@log ${JSON.stringify(backend.text().split('\n').slice(-60).join('\n'))}`);
