// What every pair of drivers must do, whichever is whose: all sizes of frames, floods, TCP both ways, UDP, offloads on
// and off, and files whose bytes and checksums are judged at both ends. A guest against dom0; dom0 runs `iperf3 -s`.
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { BRIDGE, DOM0, expect, fileServer, sh } from './dom0.mjs';
import { flood } from './echoes.mjs';

/** Payload of the largest echo request that the MTU has room for. */
const LARGEST = 8972;
/** Every size up to a header's worth, then around pages, MTUs and the end, and a stride that is a prime between. */
const sizes = new Set();
for (let size = 0; size <= 64; size += 8) sizes.add(size);
for (let size = 65; size <= LARGEST; size += 499) sizes.add(size);
for (const edge of [1472, 4054, 8150, LARGEST])
  for (const size of [edge - 1, edge, edge + 1]) if (size <= LARGEST) sizes.add(size);

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

/**
 * All of it, for a guest whose `eth0` is up with an MTU of 9000. `row` runs a check; `seconds`: of each measurement;
 * `echoes`: of a flood. Answers the Mbit/s of TCP by direction.
 */
export async function battery(guest, row, seconds, echoes) {
  const before = checksumErrors(readFileSync('/proc/net/snmp', 'utf8'));
  const rates = {};
  await row(`ping, ${sizes.size} sizes from 0 to ${LARGEST}`, async () => {
    const text = await guest.exec(
      `for s in ${[...sizes].join(' ')}; do /bin/ping -n -q -c 1 -W 10 -M do -s $s ${DOM0} >/tmp/p 2>&1 || echo lost $s; ` +
        'grep -q "wrong data" /tmp/p && echo wrong $s; done; true',
    );
    if (/lost|wrong/.test(text)) throw new Error(text.trim());
  });
  for (const size of [56, 1400])
    await row(`ping flood, ${size} bytes`, () => flood(guest, DOM0, echoes, size));
  for (const [name, options] of [
    ['TCP, guest to dom0', []],
    ['TCP, dom0 to guest', ['-R']],
  ])
    await row(name, async () => {
      const { rate, again } = await iperf(guest, seconds.tcp, ...options);
      rates[name] = rate;
      return `${rate} Mbit/s, ${again} segments sent again`;
    });
  for (const [name, options] of [
    ['UDP, guest to dom0', []],
    ['UDP, dom0 to guest', ['-R']],
  ])
    await row(name, async () => {
      const { rate, lost, sent } = await iperf(
        guest,
        seconds.udp,
        '-u',
        '-b',
        '10M',
        '-l',
        '1400',
        ...options,
      );
      // A receiver that gets no processor for a moment loses some, whoever serves the vif: it is measured.
      if (2 * lost > sent) throw new Error(`${lost} of ${sent} datagrams lost`);
      return `${rate} Mbit/s, ${lost} of ${sent} lost`;
    });
  await row('TCP, segmentation off', async () => {
    await guest.exec('ethtool -K eth0 tso off gso off');
    const up = await iperf(guest, seconds.offloads);
    const down = await iperf(guest, seconds.offloads, '-R');
    return `${up.rate} and ${down.rate} Mbit/s`;
  });
  await row('TCP, scatter-gather off: frames of 1500', async () => {
    await guest.exec('ethtool -K eth0 sg off');
    const { rate, again } = await iperf(guest, seconds.offloads);
    return `${rate} Mbit/s, ${again} segments sent again`;
  });
  await row('files, checksums computed by who sends', async () => {
    // Linux's netfront has no switch for those of IPv4, and an interface may have none for those that it receives.
    await guest.exec('ethtool -K eth0 rx off; ethtool -K eth0 tx off; true');
    const computes = (await guest.exec('ethtool -k eth0')).includes('tx-checksumming: off');
    sh(`ethtool -K ${BRIDGE} tx off`);
    try {
      return `${await transfer(guest)}; ${computes ? 'dom0 and the guest compute' : 'dom0 computes'} them`;
    } finally {
      sh(`ethtool -K ${BRIDGE} tx on`);
    }
  });
  await row('files, offloads on', async () => {
    await guest.exec('ethtool -K eth0 rx on; ethtool -K eth0 tx on; ethtool -K eth0 sg on gso on tso on');
    return transfer(guest);
  });
  await row('no checksum errors at either end', async () => {
    expect('guest', checksumErrors(await guest.exec('cat /proc/net/snmp')), 0);
    expect('dom0', checksumErrors(readFileSync('/proc/net/snmp', 'utf8')), before);
  });
  return rates;
}
