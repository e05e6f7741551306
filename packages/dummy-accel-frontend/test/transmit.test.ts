// Which frames go by the device and which are declined, that busy is the last word, and what is on the wire.
import { Checksum, Segmentation } from '@netaccel/core-hooks';
import type { Frame } from '@netaccel/core-hooks';
import { describe, expect, it } from 'vitest';
import { broadcast, macOf } from '@netaccel/nic-vi/testing';
import type { FrameSpec } from '@netaccel/nic-vi/testing';
import { B, connected, offer, out, said } from './attached.js';
import type { Attached } from './attached.js';

describe('a frame', () => {
  it.each<[string, FrameSpec]>([
    ['UDP over IPv4', {}],
    ['TCP over IPv4', { protocol: 6 }],
    ['UDP over IPv6', { version: 6 }],
    ['TCP over IPv6', { version: 6, protocol: 6 }],
    ['a first fragment', { fragment: 0x2000 }],
    ['a later fragment', { fragment: 0x0010 }],
    ['as long as can be', { payload: new Uint8Array(1472).fill(7) }],
  ])('of %s is sent, byte for byte', async (_what, spec) => {
    const it = await connected();
    const bytes = out(spec);
    const frame = it.guest.frame(bytes);
    expect(offer(it, frame)).toBe('sent');
    expect(it.far.look()).toEqual([bytes]);
    it.device.poll(64);
    expect(it.guest.completed).toEqual([frame]);
    expect(it.guest.pool.free).toBe(64);
  });

  it.each<[string, Uint8Array, string]>([
    ['of 13 bytes', out().slice(0, 13), 'malformed'],
    ['for everybody', out({ to: broadcast }), 'broadcast'],
    ['for a group', out({ to: [0x33, 0x33, 0, 0, 0, 1] }), 'broadcast'],
    ['to somebody unheard of', out({ to: macOf(0xc) }), 'unknown-destination'],
    ['with a VLAN tag', out({ vlan: 5 }), 'vlan'],
    ['of ARP', out().fill(6, 13, 14), 'not-ip'],
    ['with a broken IPv4 header', out().fill(0x44, 14, 15), 'malformed'],
    ['with a broken IPv6 header', out({ version: 6 }).fill(0xff, 18, 20), 'malformed'],
    ['of ICMP', out({ protocol: 1 }), 'not-tcp-udp'],
    ['with half of a UDP header', out().slice(0, 38), 'malformed'],
    ['with an IPv4 length beyond its end', out().fill(0xff, 16, 17), 'malformed'],
    ['from somebody else', out({ from: macOf(0xc) }), 'spoofed'],
    ['of a byte too much', out({ payload: new Uint8Array(1473) }), 'too-long'],
  ])('feature 30, feature 36: %s is declined', async (_what, bytes, reason) => {
    const it = await connected();
    expect(offer(it, it.guest.frame(bytes))).toBe(reason);
    expect(it.far.look()).toEqual([]);
  });

  it('feature 29: at any length and of any bytes gets a verdict, and the queue never halts', async () => {
    const it = await connected();
    let seed = 1;
    const random = (below: number): number => {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
      return (seed >>> 8) % below;
    };
    for (let i = 0; i < 3000; i++) {
      const bytes = out({
        version: random(2) === 0 ? 4 : 6,
        protocol: random(2) === 0 ? 6 : 17,
        payload: new Uint8Array(random(1600)),
      });
      const cut = random(4) === 0 ? bytes.slice(0, 1 + random(bytes.length)) : bytes;
      for (let n = random(3); n > 0; n--) cut[random(cut.length)] = random(256);
      const frame = it.guest.frame(cut);
      frame.checksum = random(4) as Checksum;
      if (random(3) === 0) {
        frame.segmentation = random(3) as Segmentation;
        frame.segmentBytes = random(3) === 0 ? random(100) : random(3000);
        frame.checksum = Checksum.blank;
      }
      const verdict = said(it.device.startTransmit(frame, random(2) === 0));
      expect(verdict).not.toBe('nonsense');
      expect(verdict).not.toBe('busy');
      if (verdict !== 'sent') frame.release();
      it.device.poll(64);
      it.far.look();
    }
    expect(it.guest.control.viStatistics(it.guest.vi)).toMatchObject({ txErrors: 0, txSpoofed: 0 });
    expect(it.guest.pool.free).toBe(64);
  });

  it('that is not in memory that the device knows is declined', async () => {
    const it = await connected();
    const frame = it.guest.frame(out());
    const elsewhere = it.guest.memory.allocate(1);
    it.guest.memory.copy(elsewhere, frame.home, 60);
    frame.address = elsewhere;
    expect(offer(it, frame)).toBe('not-registered');
  });

  it('feature 80: is declined while there is no link', async () => {
    const it = await connected();
    it.guest.wire.setLink(false);
    it.device.poll(64);
    expect(offer(it, it.guest.frame(out()))).toBe('link-down');
    it.guest.wire.setLink(true);
    it.device.poll(64);
    expect(offer(it, it.guest.frame(out()))).toBe('sent');
  });

  it('feature 42: in many pieces is gathered; in too many it is declined, and an empty piece does no harm', async () => {
    const it = await connected();
    const bytes = out({ payload: Uint8Array.from({ length: 900 }, (_, i) => i) });
    const chain = (cuts: number[]): Frame => {
      let at = 0;
      const parts = cuts.map((length) => {
        const part = it.guest.frame(bytes.slice(at, at + length));
        at += length;
        return part;
      });
      parts.forEach((part, i) => (part.next = parts[i + 1] ?? null));
      parts[0]!.totalBytes = at;
      return parts[0]!;
    };
    expect(offer(it, chain([60, 0, 400, 1, bytes.length - 461]))).toBe('sent');
    expect(it.far.look()).toEqual([bytes]);
    it.device.poll(64);
    expect(it.guest.pool.free).toBe(64);
    const pieces = (count: number): number[] => [
      60,
      ...Array.from({ length: count - 2 }, () => 10),
      bytes.length - 60 - 10 * (count - 2),
    ];
    expect(offer(it, chain(pieces(63)))).toBe('sent');
    expect(it.far.look()).toEqual([bytes, bytes]);
    it.device.poll(64);
    expect(offer(it, chain(pieces(64)))).toBe('too-long');
    expect(it.guest.control.viStatistics(it.guest.vi)['txErrors']).toBe(0);
  });
});

describe('what the NIC has to fill in', () => {
  it('is filled in: a blank checksum', async () => {
    const it = await connected();
    const frame = it.guest.frame(out({ protocol: 6 }));
    frame.checksum = Checksum.blank;
    expect(offer(it, frame)).toBe('sent');
    const [seen] = it.far.look();
    expect(it.guest.memory.sum(frame.home, 0, 0)).toBe(0);
    const segment = seen!.slice(34);
    const pseudo = [...seen!.slice(26, 34), 0, 6, 0, segment.length];
    let sum = 0;
    for (const [i, byte] of [...pseudo, ...segment].entries()) sum += i % 2 === 0 ? byte * 256 : byte;
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
    expect(sum).toBe(0xffff);
  });

  it('is cut: a large segment', async () => {
    const it = await connected();
    const payload = Uint8Array.from({ length: 30_000 }, (_, i) => i * 7);
    const frame = it.guest.frame(out({ protocol: 6, payload }));
    frame.checksum = Checksum.blank;
    frame.segmentation = Segmentation.tcpv4;
    frame.segmentBytes = 1448;
    expect(offer(it, frame)).toBe('sent');
    const frames = it.far.look();
    expect(frames).toHaveLength(Math.ceil(30_000 / 1448));
    expect(frames.flatMap((bytes) => [...bytes.slice(54)])).toEqual([...payload]);
  });

  it.each<[string, Partial<Frame>, FrameSpec, string]>([
    ['a fragment with a blank checksum', { checksum: Checksum.blank }, { fragment: 0x2000 }, 'ip-fragment'],
    [
      'a segment of UDP',
      { checksum: Checksum.blank, segmentation: Segmentation.tcpv4, segmentBytes: 500 },
      {},
      'segmentation',
    ],
    [
      'a segment of the other version',
      { checksum: Checksum.blank, segmentation: Segmentation.tcpv6, segmentBytes: 500 },
      { protocol: 6 },
      'segmentation',
    ],
    [
      'segments of nothing',
      { checksum: Checksum.blank, segmentation: Segmentation.tcpv4, segmentBytes: 0 },
      { protocol: 6 },
      'segmentation',
    ],
    [
      'segments of a few bytes',
      { checksum: Checksum.blank, segmentation: Segmentation.tcpv4, segmentBytes: 47 },
      { protocol: 6 },
      'segmentation',
    ],
    [
      'segments longer than a frame',
      { checksum: Checksum.blank, segmentation: Segmentation.tcpv4, segmentBytes: 1461 },
      { protocol: 6 },
      'segmentation',
    ],
  ])('but not %s', async (_what, how, spec, reason) => {
    const it = await connected();
    const frame = it.guest.frame(out({ ...spec, payload: new Uint8Array(1000) }));
    Object.assign(frame, how);
    expect(offer(it, frame)).toBe(reason);
  });

  it('is declined by a NIC that cannot', async () => {
    const it = await connected({ handover: { transmitChecksum: false, segmentation: false } });
    const frame = it.guest.frame(out({ protocol: 6, payload: new Uint8Array(1000) }));
    frame.checksum = Checksum.blank;
    expect(offer(it, frame)).toBe('checksum');
    frame.segmentation = Segmentation.tcpv4;
    frame.segmentBytes = 500;
    expect(offer(it, frame)).toBe('segmentation');
  });
});

describe('room', () => {
  /** A device whose ring is full of frames that the NIC does not take. */
  async function full(): Promise<Attached> {
    const it = await connected();
    Object.assign(it.guest.nic, { registerWritten: () => true });
    const frame = it.guest.frame(out());
    for (let i = 0; i < 512; i++) {
      frame.hold();
      expect(offer(it, frame, true)).toBe('sent');
    }
    return it;
  }

  it('feature 31: is the last thing asked for: what would be declined is declined, also by a full ring', async () => {
    const it = await full();
    const good = it.guest.frame(out());
    expect(offer(it, good)).toBe('busy');
    const elsewhere = it.guest.memory.allocate(2);
    const page = it.guest.frame(out());
    page.address = elsewhere;
    it.guest.memory.copy(elsewhere, good.home, 60);
    expect(offer(it, page)).toBe('not-registered');
    const tail = it.guest.frame(new Uint8Array(10));
    tail.address = elsewhere + 4090;
    const chain = it.guest.frame(out());
    chain.next = tail;
    chain.totalBytes += 10;
    expect(offer(it, chain)).toBe('not-registered');
    for (const spec of [{ to: broadcast }, { vlan: 1 }, { protocol: 1 }, { from: B }])
      expect(offer(it, it.guest.frame(out(spec)))).not.toBe('busy');
  });

  it('feature 34: is told of when there is some, and a frame that was busy goes then', async () => {
    const it = await full();
    const { guest, device } = it;
    const waiting = guest.frame(out({ port: 99 }));
    expect(offer(it, waiting)).toBe('busy');
    expect(device.checkReady()).toBe(false);
    expect(guest.wakes).toBe(0);
    Reflect.deleteProperty(guest.nic, 'registerWritten');
    guest.control.serviceVi(guest.vi);
    for (let i = 0; i < 20 && guest.wakes === 0; i++) {
      expect(device.poll(16)).toBe(16);
    }
    expect(guest.wakes).toBe(1);
    expect(device.checkReady()).toBe(true);
    it.far.look();
    expect(offer(it, waiting)).toBe('sent');
    expect(it.far.look().at(-1)).toEqual(out({ port: 99 }));
    while (device.poll(64) === 64);
    expect(guest.completed).toHaveLength(513);
    expect(guest.wakes).toBe(1);
  });

  it('feature 73: completions cost budget, each once', async () => {
    const it = await full();
    it.device.flush!();
    Reflect.deleteProperty(it.guest.nic, 'registerWritten');
    it.guest.control.serviceVi(it.guest.vi);
    for (let n = 1; n <= 8; n++) {
      expect(it.device.poll(64)).toBe(64);
      expect(it.guest.completed).toHaveLength(64 * n);
    }
    expect(it.device.poll(64)).toBe(0);
  });
});

describe('the doorbell', () => {
  it('rings once for a batch, and for what came before a frame that is not sent', async () => {
    const it = await connected();
    const { guest } = it;
    const rung = (): number => guest.control.viStatistics(guest.vi)['txDoorbells']!;
    const before = rung();
    for (let i = 0; i < 7; i++) offer(it, guest.frame(out()), true);
    expect(rung()).toBe(before);
    offer(it, guest.frame(out()), false);
    expect(rung()).toBe(before + 1);
    expect(it.far.look()).toHaveLength(8);
    offer(it, guest.frame(out()), true);
    expect(offer(it, guest.frame(out({ vlan: 1 })), false)).toBe('vlan');
    expect(it.far.look()).toHaveLength(9);
    offer(it, guest.frame(out()), true);
    it.device.flush!();
    expect(it.far.look()).toHaveLength(10);
  });
});

describe('a NIC that refuses a frame', () => {
  it('feature 46: gets going again, and every frame comes back once, within the budget', async () => {
    const it = await connected();
    const { guest, device } = it;
    Object.assign(guest.nic, { registerWritten: () => true });
    const sent: Frame[] = [];
    for (let i = 0; i < 60; i++) {
      const frame = guest.frame(out({ port: i }));
      sent.push(frame);
      offer(it, frame, true);
    }
    // The device forgets half of the memory, as if its table had failed.
    const { transmit } = (device.describe() as { vi: { transmit: { fill: number } } }).vi;
    expect(transmit.fill).toBe(60);
    guest.control.unregisterBuffers(guest.vi, 8 * 4096 + 15 * 4096, 1);
    device.startTransmit(guest.frame(out()), false);
    Reflect.deleteProperty(guest.nic, 'registerWritten');
    guest.control.serviceVi(guest.vi);
    let work = 0;
    for (let i = 0; i < 100; i++) {
      const before = guest.completed.length;
      const done = device.poll(8);
      expect(done).toBeLessThanOrEqual(8);
      expect(guest.completed.length - before).toBeLessThanOrEqual(8);
      work += done;
    }
    expect(work).toBe(61);
    expect(new Set(guest.completed).size).toBe(61);
    expect(offer(it, guest.frame(out()))).toBe('sent');
    expect(it.far.look().at(-1)).toEqual(out());
  });
});
