// Wireshark's own tools read what is written, without complaint, and see what was meant; and what their
// editcap writes is read. Where they are not installed, each test says so and is skipped.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { CaptureDirection, CaptureWriter, readCapture } from '../../src/capture/index.js';
import { fields, isMissing, reason, run } from './wireshark.js';

const mixed = fileURLToPath(new URL('../../captures/mixed.pcapng', import.meta.url));

// Each of these tools takes a second to start, more on a busy machine.
vi.setConfig({ testTimeout: 60_000 });

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'netaccel-tshark-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

test('tshark reads interfaces, directions, times, comments and ids of a pcapng', ({ skip }) => {
  skip(isMissing, reason);
  const path = join(folder, 'written.pcapng');
  const writer = CaptureWriter.create(path, { originMs: 1_767_225_600_000, snapBytes: 100 });
  const a = writer.addInterface({ name: 'alpha.a' });
  const b = writer.addInterface({ name: 'beta.b' });
  const packet = new Uint8Array(128).fill(1);
  writer.packet(packet, a, CaptureDirection.outbound, 1, 'slow', 2 ** 40);
  writer.packet(packet.subarray(0, 61), b, CaptureDirection.inbound, 1_000_000_002, 'fast');
  writer.packet(packet.subarray(0, 60), b, CaptureDirection.unknown, 1_000_000_003);
  writer.close();
  const names = ['frame.interface_name', 'frame.packet_flags_direction', 'frame.time_epoch', 'frame.comment'];
  expect(fields(path, ...names, 'frame.packet_id', 'frame.len', 'frame.cap_len')).toEqual([
    ['alpha.a', '0x00000002', '1767225600.000000001', 'slow', String(2 ** 40), '128', '100'],
    ['beta.b', '0x00000001', '1767225601.000000002', 'fast', '', '61', '61'],
    ['beta.b', '', '1767225601.000000003', '', '', '60', '60'],
  ]);
  expect(run('capinfos', path)).toMatch(/Number of packets: +3\n/);
});

test('tshark reads a pcap', ({ skip }) => {
  skip(isMissing, reason);
  const path = join(folder, 'written.pcap');
  const writer = CaptureWriter.create(path, { originMs: 1_767_225_600_000 });
  writer.addInterface({ name: 'a' });
  for (let i = 0; i < 3; i++)
    writer.packet(new Uint8Array(61 + i), 0, CaptureDirection.unknown, i * 999_999_999);
  writer.close();
  expect(fields(path, 'frame.time_epoch', 'frame.len')).toEqual([
    ['1767225600.000000000', '61'],
    ['1767225600.999999999', '62'],
    ['1767225601.999999998', '63'],
  ]);
  expect(run('capinfos', path)).toMatch(/File timestamp precision: +nanoseconds/);
});

test('no frame of captures/mixed.pcapng is malformed or has a wrong checksum', ({ skip }) => {
  skip(isMissing, reason);
  const checks = ['ip', 'tcp', 'udp'].flatMap((protocol) => ['-o', `${protocol}.check_checksum:TRUE`]);
  const warning = 6_291_456;
  const wrong = ['ip', 'tcp', 'udp', 'icmp', 'icmpv6'].map((protocol) => `${protocol}.checksum.status == 0`);
  const filter = ['_ws.malformed', `_ws.expert.severity >= ${warning}`, ...wrong].join(' || ');
  expect(run('tshark', '-r', mixed, ...checks, '-Y', filter)).toBe('');
  const good = run(
    'tshark',
    '-r',
    mixed,
    ...checks,
    '-Y',
    'tcp.checksum.status == 1 || udp.checksum.status == 1',
  );
  expect(good.trimEnd().split('\n').length).toBeGreaterThan(150);
});

test.for(['pcap', 'nsecpcap', 'pcapng'])('what editcap writes as %s is read the same', (format, { skip }) => {
  skip(isMissing, reason);
  const path = join(folder, `converted.${format}`);
  execFileSync('editcap', ['-F', format, mixed, path], { stdio: 'ignore' });
  const [ours, theirs] = [readCapture(mixed), readCapture(path)];
  expect(theirs.faults).toEqual([]);
  const unit = format === 'pcap' ? 1000 : 1;
  const plain = ({ packets }: typeof ours) =>
    packets.map((p) => [
      Buffer.from(p.bytes).toString('hex'),
      p.time!.seconds,
      Math.floor(p.time!.nanoseconds / unit) * unit,
    ]);
  expect(plain(theirs)).toEqual(plain(ours));
  if (format !== 'pcapng') return;
  const marks = ({ packets }: typeof ours) => packets.map((p) => [p.interface.name, p.direction, p.comments]);
  expect(marks(theirs)).toEqual(marks(ours));
});
