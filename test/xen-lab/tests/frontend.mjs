// Test 2: our frontend in a guest, on our backend and on the unmodified one of Linux, and an end that gives everything
// back. `netaccel xen frontend` is what the guest runs.
import {
  Backend,
  DOM0,
  FrontendGuest,
  KernelBackend,
  check,
  expect,
  makeBridge,
  report,
  run,
  total,
  until,
} from './dom0.mjs';
import { battery } from './battery.mjs';
import { flood } from './echoes.mjs';

const TEST = '2 frontend';
const quick = process.argv.includes('--quick');
/** Seconds. */
const IPERF = quick ? { tcp: 3, udp: 1, offloads: 1 } : { tcp: 5, udp: 3, offloads: 2 };
const ECHOES = 500;
const figures = {};

async function frontend(backend) {
  const { driver } = backend;
  const row = (name, body) => check(TEST, driver, name, body);
  await backend.start();
  // The toolstack's word for the interface, which takes its size from there.
  const vif = ['mtu=9000', backend.vif].filter(Boolean).join();
  const guest = new FrontendGuest(`front-${driver}`, { vif });
  await guest.up();
  await row('interface up', async () => `${await guest.network()} s`);
  figures[driver] = await battery(guest, row, IPERF, ECHOES);
  await row('stops, and holds nothing', async () => {
    const said = await guest.stop();
    expect('the sum of what it holds', total(said('stopped').ledger), 0);
  });
  if (backend instanceof Backend) await staticGrants(backend, guest);
  await guest.destroy();
  await backend.stop();
}

/** The same guest asks its backend over the control ring to keep pages mapped. Linux's backend has no such ring. */
async function staticGrants(backend, guest) {
  const row = (name, body) => check(TEST, backend.driver, name, body);
  /** Grant copies that a flood costs. */
  const copies = async () => {
    const asked = () => backend.metric('netaccel_operations_total{what="grantCopies"}');
    const before = await asked();
    await flood(guest, DOM0, ECHOES);
    return (await asked()) - before;
  };
  let usual, before;
  await row('the frontend starts again', async () => {
    before = await backend.held();
    await guest.network();
    usual = await copies();
    await guest.stop();
  });
  await row('static grants: pages stay mapped, fewer are copied by grant', async () => {
    await guest.network('10.0.0.2', '--static-grants');
    const kept = await until('pages are mapped', () => backend.metric('netaccel_vif_static_grants'));
    const now = await copies();
    const text = `${kept} pages; ${now} grant copies for ${ECHOES} echoes, ${usual} without`;
    if (now >= usual) throw new Error(text);
    return text;
  });
  await row('static grants: all given back', async () => {
    const said = await guest.stop();
    expect('the sum of what it holds', total(said('stopped').ledger), 0);
    await until(
      'the backend holds what it held',
      async () => (await backend.held()).mappings === before.mappings,
    );
  });
}

makeBridge();
run('iperf3', ['-s', '-D']);
// CI wants to know about a backend that no one here wrote.
if (!process.argv.includes('--quick')) await frontend(new Backend());
await frontend(new KernelBackend());
for (const [name, ours] of Object.entries(figures.netaccel ?? {})) {
  const kernel = figures.kernel?.[name];
  if (kernel > 0) report(TEST, 'ratio', name, true, `${(ours / kernel).toFixed(2)} of the kernel's`);
}
