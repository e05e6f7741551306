// `--port`: vifs on the bridge that is inside of the daemon, for hosts without one of their own. With a TAP as the way out,
// where two guests also reach each other; with a capture file that is replayed at the guest. `--port nic:` is what the
// test of acceleration runs on. Then `netaccel doctor`, which says of dom0 that it has what the daemon wants.
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { Backend, CLI, DOM0, Guest, check, expect, pause, run, sh, until } from './dom0.mjs';
import { flood } from './echoes.mjs';
import { Stream } from './stream.mjs';

const TEST = 'ports';
const OUT = 'out0';
const CAPTURE = '/tmp/replayed.pcap';
const FRAMES = 50;
const IDLE_SECONDS = 10;
const IDLE_TRIES = 6;
const row = (name, body) => check(TEST, 'netaccel', name, body);

/** What `netaccel doctor` finds of Xen: its rows by what they are about. */
function doctor() {
  const { stdout, stderr } = spawnSync('node', [CLI, 'doctor', '--json'], { encoding: 'utf8' });
  if (stdout === '') throw new Error(stderr);
  return new Map(JSON.parse(stdout).findings.map((finding) => [finding.what, finding]));
}

/** The Internet checksum (RFC 1071) of a header whose own field is zero. */
function checksum(header) {
  let sum = 0;
  for (let at = 0; at < header.length; at += 2) sum += header.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** A UDP datagram for a port of the guest that nobody listens on: its kernel counts each. */
function datagram(mac, length) {
  const frame = Buffer.alloc(14 + 20 + 8 + length, 0x5a);
  Buffer.from(mac.replaceAll(':', ''), 'hex').copy(frame);
  frame.write('0200000000010800', 6, 'hex');
  frame.write('45000000000000004011000009090909', 14, 'hex');
  frame.writeUInt16BE(frame.length - 14, 16);
  Buffer.from([10, 0, 0, 2]).copy(frame, 30);
  frame.writeUInt16BE(checksum(frame.subarray(14, 34)), 24);
  frame.writeUInt16BE(9999, 34);
  frame.writeUInt16BE(9, 36);
  frame.writeUInt16BE(8 + length, 38);
  frame.writeUInt16BE(0, 40); // no checksum
  return frame;
}

/** A pcap file (https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-04.html): Ethernet, a frame every 2 ms. */
function pcap(frames) {
  const header = Buffer.alloc(24);
  header.writeUInt32LE(0xa1b2c3d4, 0);
  header.writeUInt16LE(2, 4);
  header.writeUInt16LE(4, 6);
  header.writeUInt32LE(65535, 16);
  header.writeUInt32LE(1, 20);
  const records = frames.flatMap((frame, number) => {
    const record = Buffer.alloc(16);
    record.writeUInt32LE(number * 2000, 4);
    record.writeUInt32LE(frame.length, 8);
    record.writeUInt32LE(frame.length, 12);
    return [record, frame];
  });
  return Buffer.concat([header, ...records]);
}

await row('doctor in dom0', () => {
  const found = doctor();
  expect('Xen', found.get('Xen').seen, 'domain 0');
  for (const what of ['xenstore', '/dev/xen/evtchn', '/dev/xen/gntdev', 'xen-netback'])
    expect(what, found.get(what)?.state, 'ok');
  return `xenstore ${found.get('xenstore').seen}`;
});
await row('doctor where a module is missing', () => {
  sh('modprobe -r xen-gntalloc');
  const { state, remedy } = doctor().get('/dev/xen/gntalloc');
  expect('its state', state, 'missing');
  sh('modprobe xen-gntalloc');
  expect('its state with the module', doctor().get('/dev/xen/gntalloc').state, 'ok');
  return remedy;
});

const backend = new Backend();
backend.network = ['--port', `tap:${OUT}`];
await row('--port tap: starts', () => backend.start());
sh(`ip addr add ${DOM0}/24 dev ${OUT}`);
const [guest, second] = [new Guest('guest', backend), new Guest('second', backend)];
await guest.up();
await second.up();
await row('interfaces up', async () => {
  await guest.network('10.0.0.2', 1500);
  await second.network('10.0.0.3', 1500);
});
await row('ping flood, guest to dom0', () => flood(guest, DOM0, 500));
await row('ping flood, guest to guest', () => flood(guest, '10.0.0.3', 500));
await row('TCP, every byte checked', async () => {
  const stream = new Stream(guest);
  await stream.moves();
  return stream.end();
});
await second.destroy();
await row('idle', async () => {
  const worked = () => Number(sh(`awk '{ print $14 + $15 }' /proc/${backend.child.pid}/stat`)); // hundredths of a second
  // Not at once: the last guest's end is still work, and so is what it was compiled for.
  let percent = 100;
  for (let tries = 0; percent > 1 && tries < IDLE_TRIES; tries++) {
    const before = worked();
    await pause(IDLE_SECONDS * 1000);
    percent = (worked() - before) / IDLE_SECONDS;
  }
  if (percent > 1) throw new Error(`expected at most 1 % of a processor, saw ${percent} %`);
  return `${percent} % of a processor`;
});
await row('stops', async () => {
  expect('exit code', await backend.stop(), 0);
  expect('the TAP', run('sh', ['-c', `ls /sys/class/net | grep -c '^${OUT}$' || true`]).trim(), '0');
});
await guest.destroy();

const mac = '00:16:3e:00:00:02';
writeFileSync(CAPTURE, pcap(Array.from({ length: FRAMES }, (_, number) => datagram(mac, 18 + number * 29))));
backend.network = ['--port', `file:${CAPTURE}`];
await row('--port file: starts', () => backend.start());
const reader = new Guest('reader', { vif: `mac=${mac}` });
await reader.up();
await row('the file is replayed at the guest, again and again', async () => {
  await reader.exec('modprobe xen-netfront; ip link set eth0 up; ip addr add 10.0.0.2/24 dev eth0');
  const counts = async () => {
    const [names, values] = (await reader.exec('grep ^Udp: /proc/net/snmp'))
      .split('\n')
      .map((line) => line.trim().split(' '));
    return Object.fromEntries(names.map((name, column) => [name, Number(values[column])]));
  };
  let seen;
  await until('two rounds of it', async () => (seen = await counts()).NoPorts >= 2 * FRAMES);
  expect('datagrams with errors', seen.InErrors + seen.InCsumErrors, 0);
  return `${seen.NoPorts} datagrams, 0 errors`;
});
await row('stops while it is replayed', async () => expect('exit code', await backend.stop(), 0));
await reader.destroy();
console.log(`@log ${JSON.stringify(backend.said().slice(-6000))}`);
