// Test 1: the unmodified frontend of Linux on a backend: every size of frame, TCP both ways, UDP, offloads on and off,
// a flood, and what the bytes and checksums say at both ends. The same on the kernel's backend, in the same boot.
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import {
  Backend,
  DOM0,
  Guest,
  KernelBackend,
  check,
  expect,
  fileServer,
  makeBridge,
  report,
  run,
} from './dom0.mjs';
import { flood } from './echoes.mjs';

const LARGEST = 8972;
/** Every size up to a header's worth, then around pages, MTUs and the end, and a stride that is a prime between. */
const sizes = new Set();
for (let size = 0; size <= 64; size += 8) sizes.add(size);
for (let size = 65; size <= LARGEST; size += 499) sizes.add(size);
for (const edge of [1472, 4054, 8150, LARGEST])
  for (const size of [edge - 1, edge, edge + 1]) if (size <= LARGEST) sizes.add(size);

/** `--quick`: our backend alone, and little time for each measurement. */
const quick = process.argv.includes('--quick');
/** Seconds. */
const IPERF = quick ? { tcp: 3, udp: 1, offloads: 1 } : { tcp: 4, udp: 3, offloads: 2 };
const figures = {};

/** Mbit/s that the receiver saw, datagrams lost and sent, and segments that the sender sent again. */
async function iperf(guest, seconds, ...options) {
  const text = await guest.exec(`iperf3 -c ${DOM0} -t ${seconds} -f m ${options.join(' ')}`);
  const line = text.split('\n').find((row) => row.includes('receiver')) ?? '';
  const [, rate] = /([\d.]+) Mbits\/sec/.exec(line) ?? [];
  const [, lost, sent] = /(\d+)\/(\d+) \(/.exec(line) ?? [];
  if (rate === undefined || Number(rate) === 0) throw new Error(`nothing arrived: ${text.slice(-200)}`);
  const [, again] = /bits\/sec +(\d+) +sender/.exec(text) ?? [];
  return { rate: Number(rate), lost: Number(lost ?? 0), sent: Number(sent ?? 0), again: Number(again ?? 0) };
}

function checksumErrors(text) {
  const rows = text.split('\n').map((row) => row.trim().split(/\s+/));
  let sum = 0;
  for (const protocol of ['Tcp:', 'Udp:', 'Icmp:']) {
    const [names, values] = rows.filter(([first]) => first === protocol);
    for (const [i, name] of names.entries()) if (name === 'InCsumErrors') sum += Number(values[i]);
  }
  return sum;
}

async function transfer(guest) {
  const bytes = randomBytes(3 * 1024 * 1024 + 1);
  const hash = (data) => createHash('sha256').update(data).digest('hex');
  const server = fileServer(bytes);
  try {
    const text = await guest.exec(
      `nc ${DOM0} 5002 </dev/null >/tmp/file; sha256sum /tmp/file; nc ${DOM0} 5001 </tmp/file; sleep 1`,
    );
    const [seen] = /[0-9a-f]{64}/.exec(text) ?? [];
    expect('to the guest', seen, hash(bytes));
    expect('from the guest', hash(Buffer.concat(server.received)), hash(bytes));
  } finally {
    server.close();
  }
  return '3 MiB each way, same SHA-256';
}

async function traffic(backend) {
  const { driver } = backend;
  const row = (name, body) => check('1 traffic', driver, name, body);
  const before = checksumErrors(readFileSync('/proc/net/snmp', 'utf8'));
  await backend.start();
  const guest = new Guest(`traffic-${driver}`, backend);
  await guest.up();
  await row('interface up', () => guest.network());
  await row(`ping, ${sizes.size} sizes from 0 to ${LARGEST}`, async () => {
    const text = await guest.exec(
      `for s in ${[...sizes].join(' ')}; do /bin/ping -n -q -c 1 -W 10 -M do -s $s ${DOM0} >/tmp/p 2>&1 || echo lost $s; ` +
        'grep -q "wrong data" /tmp/p && echo wrong $s; done; true',
    );
    if (/lost|wrong/.test(text)) throw new Error(text.trim());
  });
  for (const size of [56, 1400]) await row(`ping flood, ${size} bytes`, () => flood(guest, DOM0, 1000, size));
  const rates = (figures[driver] = {});
  for (const [name, options] of [
    ['TCP, guest to dom0', []],
    ['TCP, dom0 to guest', ['-R']],
  ])
    await row(name, async () => {
      const { rate, again } = await iperf(guest, IPERF.tcp, ...options);
      rates[name] = rate;
      return `${rate} Mbit/s, ${again} segments sent again`;
    });
  for (const [name, options] of [
    ['UDP, guest to dom0', []],
    ['UDP, dom0 to guest', ['-R']],
  ])
    await row(name, async () => {
      const { rate, lost, sent } = await iperf(guest, IPERF.udp, '-u', '-b', '10M', '-l', '1400', ...options);
      // A receiver that gets no processor for a moment loses some, whoever serves the vif: it is measured.
      if (2 * lost > sent) throw new Error(`${lost} of ${sent} datagrams lost`);
      return `${rate} Mbit/s, ${lost} of ${sent} lost`;
    });
  await row('TCP, segmentation off', async () => {
    await guest.exec('ethtool -K eth0 tso off gso off');
    const up = await iperf(guest, IPERF.offloads);
    const down = await iperf(guest, IPERF.offloads, '-R');
    return `${up.rate} and ${down.rate} Mbit/s`;
  });
  await row('TCP, scatter-gather off: frames of 1500', async () => {
    await guest.exec('ethtool -K eth0 sg off');
    const { rate, again } = await iperf(guest, IPERF.offloads);
    return `${rate} Mbit/s, ${again} segments sent again`;
  });
  await row('files, checksums computed by both ends', async () => {
    await guest.exec('ethtool -K eth0 tx off rx off || true');
    return transfer(guest);
  });
  await row('files, offloads on', async () => {
    await guest.exec('ethtool -K eth0 rx on tx on; ethtool -K eth0 sg on gso on tso on');
    return transfer(guest);
  });
  await row('no checksum errors at either end', async () => {
    expect('guest', checksumErrors(await guest.exec('cat /proc/net/snmp')), 0);
    expect('dom0', checksumErrors(readFileSync('/proc/net/snmp', 'utf8')), before);
  });
  if (backend instanceof Backend) {
    await operations(backend);
    if (!quick) await smallFrames(backend, guest);
  }
  await guest.destroy();
  await row('stops', async () => {
    expect('exit code', await backend.stop(), 0);
  });
}

/** What the daemon said about itself while there was load. */
async function operations(backend) {
  const loads = backend.lines('load').toSorted((a, b) => b.gbps - a.gbps);
  await check('1 traffic', backend.driver, 'operations per frame', () => {
    const [best] = loads;
    if (best === undefined) throw new Error('the daemon logged no load');
    const { systemCallsPerFrame: calls, grantOperationsPerFrame: grants, gbps } = best;
    const text = `at ${gbps} Gbit/s: ${calls} system calls, ${grants} grant operations a frame`;
    if (calls > 0.5 || grants > 0.2) throw new Error(`expected at most 0.5 and 0.2; ${text}`);
    return text;
  });
  console.log(`@loads ${JSON.stringify(loads.slice(0, 3))}`);
}

/** Datagrams of 22 bytes, as fast as the guest sends them: frames of 64. */
async function smallFrames(backend, guest) {
  await check('1 traffic', backend.driver, 'operations per frame, 64 bytes', async () => {
    const before = backend.lines('load').length;
    await guest.exec(`iperf3 -c ${DOM0} -t 6 -u -b 0 -l 22`);
    const [best] = backend
      .lines('load')
      .slice(before)
      .toSorted((a, b) => b.wireFrames / b.seconds - a.wireFrames / a.seconds);
    if (best === undefined) throw new Error('the daemon logged no load');
    const { systemCallsPerFrame: calls, grantOperationsPerFrame: grants, wireFrames, seconds } = best;
    const text = `at ${Math.round(wireFrames / seconds)} frames a second: ${calls} system calls, ${grants} grant operations a frame`;
    if (calls > 1.5) throw new Error(`expected at most 1.5; ${text}`);
    return text;
  });
}

makeBridge();
run('iperf3', ['-s', '-D']);
await traffic(new Backend());
if (!quick) await traffic(new KernelBackend());
for (const [name, ours] of Object.entries(figures.netaccel ?? {})) {
  const kernel = figures.kernel?.[name];
  if (kernel > 0) report('1 traffic', 'ratio', name, true, `${(ours / kernel).toFixed(2)} of the kernel's`);
}
