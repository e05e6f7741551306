/**
 * What `netaccel capture` takes of a running lab, a wire, a VI, a vif and a bridge, is read by tshark without complaint, and
 * says where each frame was seen, which way it went and by which path it came.
 */
import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { fields, isMissing, reason, run } from '../capture/wireshark.js';
import { User } from './cli.js';
import type { Running } from './cli.js';

const REPLAYED = fileURLToPath(new URL('../../captures/mixed.pcapng', import.meta.url));
const LAB = `lab: 1
name: captured
hosts:
  alpha: { guests: { a: { port: { pcap: REPLAYED, loop: true } } } }
  beta: { guests: { b: { port: memory } } }
wires: [{ between: [alpha.eth0, beta.eth0] }]
`;
const FRAMES = 200;
const TIMEOUT_MS = 120_000;
const SOON = { timeout: 60_000, interval: 50 };
/** How tshark writes the direction of a frame: bits 0 and 1 of an Enhanced Packet Block's flags. */
const INBOUND = '0x00000001';
const OUTBOUND = '0x00000002';

const user = new User();
let lab: Running | null = null;

beforeAll(async () => {
  if (isMissing) return;
  const file = join(user.folder, 'captured.yaml');
  writeFileSync(file, LAB.replace('REPLAYED', REPLAYED));
  const running = user.start('up', file, '--json');
  lab = running;
  await vi.waitFor(() => JSON.parse(running.output().stdout) as unknown, SOON);
}, TIMEOUT_MS);
afterAll(async () => {
  lab?.child.kill('SIGTERM');
  await lab?.ended;
  user.leave();
}, TIMEOUT_MS);

describe('a capture of a running lab', () => {
  it.for([
    ['the wire of a NIC port that sends', 'alpha.eth0', 'alpha.eth0', OUTBOUND],
    ['the wire of a NIC port that receives', 'beta.eth0', 'beta.eth0', INBOUND],
    ["the driver domain's VI that sends", 'alpha.eth0.vi0', 'alpha.eth0.vi0', OUTBOUND],
    ["the driver domain's VI that receives", 'beta.eth0.vi0', 'beta.eth0.vi0', INBOUND],
    ["the vif of a guest that sends, as the driver domain's bridge sees it", 'a', 'alpha.a', INBOUND],
    ['the vif of a guest that receives', 'b', 'beta.b', OUTBOUND],
    ["a host's bridge", 'alpha', 'alpha.a', INBOUND],
  ] as const)(
    'reads well in tshark: %s',
    { timeout: TIMEOUT_MS },
    async ([, target, seenAt, direction], { skip }) => {
      skip(isMissing, reason);
      const path = join(user.folder, `${target}.pcapng`);
      await user.json('capture', target, '-w', path, '--count', String(FRAMES), '--json');
      const names = ['frame.interface_name', 'frame.packet_flags_direction', 'frame.comment'];
      const seen = fields(path, ...names, 'frame.time_epoch');
      expect(seen).toHaveLength(FRAMES);
      // The replayed frames: whatever else crosses the lab goes another way, or is another guest's.
      const replayed = seen.filter(([where, way]) => where === seenAt && way === direction);
      expect(replayed.length).toBeGreaterThan(FRAMES / 2);
      expect(new Set(replayed.map(([, , path_]) => path_))).toEqual(new Set(['slow']));
      const times = seen.map(([, , , time]) => Number(time));
      const now = Date.now() / 1000;
      for (const time of times) expect(Math.abs(now - time)).toBeLessThan(TIMEOUT_MS / 1000);
      expect(run('capinfos', '-t', path)).toContain('pcapng');
    },
  );

  it('of a VI that there is not says which there are', { timeout: TIMEOUT_MS }, async ({ skip }) => {
    skip(isMissing, reason);
    const { code, stderr } = await user.run('capture', 'alpha.eth0.vi99', '-w', '-');
    expect(code).not.toBe(0);
    expect(stderr).toContain('saw alpha.eth0.vi99; there are: alpha.eth0.vi0');
  });

  it('of a guest goes on where the guest goes', { timeout: TIMEOUT_MS }, async ({ skip }) => {
    skip(isMissing, reason);
    const path = join(user.folder, 'moved.pcapng');
    const capture = user.start('capture', 'b', '-w', path, '--json');
    const bytes = (): number => statSync(path, { throwIfNoEntry: false })?.size ?? 0;
    await vi.waitFor(() => expect(bytes()).toBeGreaterThan(20_000), SOON);
    await user.json('migrate', 'b', 'alpha', '--json');
    const atMove = bytes();
    await vi.waitFor(() => expect(bytes()).toBeGreaterThan(atMove + 20_000), SOON);
    capture.child.kill('SIGINT');
    expect((await capture.ended).code).toBe(0);
    const places = fields(path, 'frame.interface_name').map(([place]) => place);
    expect(places.filter((place, i) => place !== places[i - 1])).toEqual(['beta.b', 'alpha.b']);
  });
});
