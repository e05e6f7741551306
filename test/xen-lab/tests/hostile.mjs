// Bad input: no store, no rights, device directories that make no sense, rings that a guest does not own, a guest that
// performs the fuzzer's operations on the real devices, and a store that goes away. Each time the daemon says why, and
// what it can serve goes on: another guest notices nothing.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import {
  Backend,
  CLI,
  DOM0,
  Guest,
  PRODUCT,
  check,
  expect,
  makeBridge,
  nothingLeft,
  residueOf,
  run,
  sh,
  until,
} from './dom0.mjs';
import { allAnswered } from './echoes.mjs';

const TEST = 'bad input';
const SEED = 20261129;
const CASES = 40;
const backend = new Backend();
const row = (name, body) => check(TEST, backend.driver, name, body);

/** Writes keys in one transaction, as toolstacks do. */
const write = (...pairs) => run('xenstore-write', pairs);
const read = (path) => run('xenstore-read', [path], true).trim();
const refusals = (vif) =>
  backend
    .lines('vif')
    .filter((line) => line.vif === vif && (line.state === 'Refused' || line.reason !== null));

/** A vif of `guest` that the toolstack made badly: `spoil` says what is wrong with it. */
async function badDirectory(guest, handle, what, spoil, says) {
  await row(what, async () => {
    const path = `/local/domain/0/backend/vif/${guest.id}/${handle}`;
    const front = `/local/domain/${guest.id}/device/vif/${handle}`;
    write(`${front}/state`, '1');
    const keys = { frontend: front, 'frontend-id': guest.id, online: '1', mac: `00:16:3e:00:00:0${handle}` };
    const there = Object.entries({ ...keys, ...spoil, state: '1' }).filter(([, value]) => value !== null);
    write(path, '', ...there.flatMap(([key, value]) => [`${path}/${key}`, value]));
    await until('the refusal', () => refusals(`${guest.id}/${handle}`).length > 0);
    const [{ reason }] = refusals(`${guest.id}/${handle}`);
    if (!says.test(reason)) throw new Error(`the log says ${reason}`);
    await until(
      'the error node',
      () => read(`/local/domain/0/error/backend/vif/${guest.id}/${handle}/error`) === reason,
    );
    run('xenstore-rm', [path]);
    run('xenstore-rm', [front]);
    return reason.replace(/^[^ ]*\//, '');
  });
}

/** The guest's own vif, whose keys claim rings that are not its own. */
async function badRings(guest) {
  await row('a frontend that names rings it does not own', async () => {
    const front = `/local/domain/${guest.id}/device/vif/0`;
    const keys = {
      'request-rx-copy': '1',
      'tx-ring-ref': '999999',
      'rx-ring-ref': '7',
      'event-channel': '3',
    };
    for (const [key, value] of Object.entries(keys)) write(`${front}/${key}`, value);
    write(`${front}/state`, '4');
    await until('the refusal', () => refusals(`${guest.id}/0`).length > 0);
    const [{ state, reason }] = refusals(`${guest.id}/0`);
    expect('state', state, 'Closing');
    expect('the error node', read(`/local/domain/0/error/backend/vif/${guest.id}/0/error`), reason);
    write(`${front}/state`, '6');
    write(`${front}/state`, '1');
    await until('it is offered again', () => read(`/local/domain/0/backend/vif/${guest.id}/0/state`) === '2');
    return reason;
  });
}

/** A daemon that cannot begin: what it says on its way out. */
async function refusal(what, more, options, says) {
  await row(what, () => {
    const args = [CLI, 'xen', 'backend', '--bridge', 'xenbr0', ...more];
    const { status, stderr } = spawnSync('node', args, { encoding: 'utf8', ...options });
    // This machine lacks something.
    expect('exit code', status, 4);
    const text = stderr.trim().split('\n').at(-1);
    if (!says.test(text)) throw new Error(text);
    return text.slice(0, 100);
  });
}

/** The last row: nothing works in dom0 without xenstored. */
async function storeGone() {
  await row('xenstored dies: traffic goes on, the daemon waits, then says why it ends', async () => {
    const guest = new Guest('alone', backend);
    await guest.up();
    await guest.network();
    sh('kill -9 $(cat /run/xenstore.pid)');
    await until('the log says so', () => backend.lines('store').some(({ state }) => state === 'lost'));
    // From dom0: the guest's console may have gone with the store.
    await allAnswered(
      () => readFileSync('/proc/net/snmp', 'utf8'),
      20,
      () => void sh('/bin/ping -q -i 0.2 -c 20 10.0.0.2', true),
    );
    expect('exit code', await backend.ended, 1);
    const [line] = /expected the store back[^\n]*/.exec(backend.said()) ?? [''];
    if (line === '') throw new Error(`it said ${backend.said().slice(-300)}`);
    return line.slice(0, 100);
  });
}

makeBridge();
await refusal('no store', ['--store', '/run/nowhere'], {}, /expected xenstored at \/run\/nowhere/);
await refusal('no rights', [], { uid: 1000, gid: 1000 }, /EACCES|EPERM|root/);
await backend.start();
const bystander = new Guest('bystander', backend);
await bystander.up();
await row('the other guest', () => bystander.network());
const unharmed = allAnswered(
  () => bystander.exec('cat /proc/net/snmp'),
  1,
  async () =>
    void (await bystander.start(
      `while [ ! -e /tmp/enough ]; do /bin/ping -q -i 0.2 -c 20 ${DOM0} >/dev/null; done`,
      1500,
    )),
);
// Seen by its row.
unharmed.catch(() => undefined);

for (const [handle, what, spoil, says] of [
  [2, 'no key frontend', { frontend: null }, /frontend: expected/],
  [3, 'no key mac', { mac: null }, /mac: expected/],
  [4, 'a mac that is none', { mac: '00:16:3e:zz:00:01' }, /mac: expected/],
  [5, 'a mac that is a directory', { mac: null, 'mac/0': '00' }, /mac: expected .* saw a directory with 0/],
  [6, 'an ip that is none', { ip: '10.0.0.999' }, /ip: expected/],
])
  await badDirectory(bystander, handle, what, spoil, says);
const before = await residueOf(backend);

const guest = new Guest('hostile', backend, PRODUCT);
await guest.up();
await badRings(guest);
await row(`${CASES} hostile cases, seed ${SEED}`, async () => {
  const text = await guest.exec(`node /host/hostile.mjs ${SEED} ${CASES}`, 500);
  const performed = JSON.parse(/@cases (\{.*\})/.exec(text)?.[1] ?? '{}');
  const count = Object.values(performed).reduce((sum, n) => sum + n, 0);
  if (count < 10 * CASES) throw new Error(`only ${count} operations: ${text.slice(-300)}`);
  const breaches = await backend.metric('netaccel_vif_breaches_total');
  return `${count} operations, ${breaches} breaches found`;
});
await guest.destroy();
await row('the other guest noticed nothing', async () => {
  await bystander.exec('touch /tmp/enough');
  return unharmed;
});
await row('nothing of it is left', () => nothingLeft(backend, before));
await bystander.destroy();
await row('stops', async () => {
  expect('exit code', await backend.stop(), 0);
});
await backend.start();
await storeGone();
console.log(`@log ${JSON.stringify(backend.said().slice(-6000))}`);
// What started the last guest waits for a store that is gone.
process.exit();
