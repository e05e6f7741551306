/**
 * What `netaccel capture` takes of a guest's own VI while the guest sends and receives by the fast path: tshark reads it
 * without complaint, and finds the guest's frames, both ways, and nobody else's.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { CaptureDirection, CaptureWriter } from '../../src/capture/index.js';
import type { LabReport } from '../../src/up/report.js';
import { fields, isMissing, reason, run } from '../capture/wireshark.js';
import { User } from './cli.js';
import type { Running } from './cli.js';

const PLUGIN = '@netaccel/dummy-accel-backend';
const FRAMES = 100;
const PORT = 7000;
const PAYLOAD_BYTES = 100;
const PERIOD_NS = 2_000_000;
const TIMEOUT_MS = 120_000;
const SOON = { timeout: 60_000, interval: 100 };
/** How tshark writes the direction of a frame: bits 0 and 1 of an Enhanced Packet Block's flags. */
const WAYS = { in: '0x00000001', out: '0x00000002' } as const;

const user = new User();
let lab: Running | null = null;

/** Who replays: the last byte of the guest's addresses. */
interface End {
  readonly guest: string;
  readonly last: number;
}
const A: End = { guest: 'a', last: 11 };
const B: End = { guest: 'b', last: 12 };
const macOf = ({ last }: End): string => `00:16:3e:00:00:${last.toString(16).padStart(2, '0')}`;
const ipOf = ({ last }: End): string => `10.77.0.${last}`;

/** A UDP datagram over IPv4 from one guest to the other. */
function datagram(from: End, to: End): Uint8Array {
  const frame = Buffer.alloc(14 + 20 + 8 + PAYLOAD_BYTES, 0x5a);
  const mac = (end: End): Buffer => Buffer.from(macOf(end).replaceAll(':', ''), 'hex');
  Buffer.concat([mac(to), mac(from), Buffer.from([0x08, 0x00])]).copy(frame);
  const ip = frame.subarray(14, 34).fill(0);
  ip.set([0x45, 0]);
  ip.writeUInt16BE(20 + 8 + PAYLOAD_BYTES, 2);
  ip.set([64, 17], 8);
  ip.set(ipOf(from).split('.').map(Number), 12);
  ip.set(ipOf(to).split('.').map(Number), 16);
  let sum = 0;
  for (let at = 0; at < 20; at += 2) sum += ip.readUInt16BE(at);
  ip.writeUInt16BE(~((sum & 0xffff) + (sum >>> 16)) & 0xffff, 10);
  const udp = frame.subarray(34);
  udp.writeUInt16BE(PORT, 0);
  udp.writeUInt16BE(PORT, 2);
  udp.writeUInt16BE(8 + PAYLOAD_BYTES, 4);
  udp.writeUInt16BE(0, 6); // no checksum (RFC 768)
  return frame;
}

/** The file that a guest replays again and again. */
function recorded(from: End, to: End): string {
  const path = join(user.folder, `${from.guest}.pcapng`);
  const writer = CaptureWriter.create(path);
  const at = writer.addInterface({ name: from.guest });
  for (let i = 0; i < 50; i++)
    writer.packet(datagram(from, to), at, CaptureDirection.outbound, i * PERIOD_NS);
  writer.close();
  return path;
}

beforeAll(async () => {
  if (isMissing) return;
  const guest = (end: End, to: End): string =>
    `${end.guest}: { mac: '${macOf(end)}', accel: eth0, port: { pcap: ${recorded(end, to)}, loop: true } }`;
  const file = join(user.folder, 'fast.yaml');
  writeFileSync(
    file,
    `lab: 1
name: fast
hosts:
  alpha: { accelerator: '${PLUGIN}', guests: { ${guest(A, B)} } }
  beta: { accelerator: '${PLUGIN}', guests: { ${guest(B, A)} } }
wires: [{ between: [alpha.eth0, beta.eth0] }]
`,
  );
  const running = user.start('up', file, '--json');
  lab = running;
  await vi.waitFor(() => JSON.parse(running.output().stdout) as unknown, SOON);
  // Each knows the other to be across the wire, and has a filter for what comes.
  await vi.waitFor(async () => {
    const { hosts } = await user.json<LabReport>('ls', '--json', '--no-rates');
    for (const { guests } of hosts)
      for (const { fast } of guests) expect(Math.min(fast.txFrames, fast.rxFrames)).toBeGreaterThan(FRAMES);
  }, SOON);
}, TIMEOUT_MS);
afterAll(async () => {
  lab?.child.kill('SIGTERM');
  await lab?.ended;
  user.leave();
}, TIMEOUT_MS);

it.for([
  ['alpha', A, B],
  ['beta', B, A],
] as const)(
  "a guest's VI, captured under traffic, reads well in tshark: of %s",
  { timeout: TIMEOUT_MS },
  async ([host, own, other], { skip }) => {
    skip(isMissing, reason);
    const { stderr } = await user.run('capture', `${host}.eth0.vi99`, '-w', '-');
    const [target] = /(\S+\.vi[1-9]\d*)$/m.exec(stderr) ?? ['no VI of a guest'];
    const path = join(user.folder, `${target}.pcapng`);
    await user.json('capture', target, '-w', path, '--count', String(FRAMES), '--json');
    const seen = fields(
      path,
      ...['frame.interface_name', 'frame.interface_description', 'frame.comment'],
      ...['frame.packet_flags_direction', 'eth.src', 'eth.dst', 'ip.src', 'ip.dst', 'udp.dstport'],
    );
    expect(seen).toHaveLength(FRAMES);
    const wired = host === 'alpha' ? 'beta.eth0' : 'alpha.eth0';
    const flow = (way: string, from: End, to: End): string[] => [
      ...[target, `VI of a guest, wired to ${wired}`, 'fast', way],
      ...[macOf(from), macOf(to), ipOf(from), ipOf(to), String(PORT)],
    ];
    const expected = [flow(WAYS.out, own, other), flow(WAYS.in, other, own)].map((each) => each.join('|'));
    // Both ways, and nothing but.
    expect(new Set(seen.map((each) => each.join('|')))).toEqual(new Set(expected));
    expect(run('capinfos', '-t', path)).toContain('pcapng');
  },
);
