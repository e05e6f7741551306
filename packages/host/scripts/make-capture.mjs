// Makes captures/mixed.pcapng: 200 frames of 60 to 9014 bytes as a guest's network sees them, the same bytes for
// the same seed. The demo replays it in frames mode. Run it after a build: node scripts/make-capture.mjs
import { fileURLToPath } from 'node:url';
import {
  arp,
  echo,
  neighbourAdvertisement,
  neighbourSolicitation,
  random,
  tcp,
  TCP,
  udp,
  udpFragments,
} from './frames.mjs';

export const SEED = 7;
export const FRAMES = 200;
/** The moment of the first frame: 2026-01-01, 00:00 UTC. */
export const ORIGIN_MS = Date.UTC(2026, 0, 1);
/** Frames of a flow that go the slow path before its filter is in place. */
const SLOW_FRAMES = 4;

/**
 * @typedef {import('./frames.mjs').Host} Host
 * @typedef {import('./frames.mjs').Link} Link
 * @typedef {{ bytes: Uint8Array, outbound: boolean, path: 'slow' | 'fast' | 'native' }} Captured
 * @typedef {Captured & { timeNs: number }} Timed
 */

/** @param {number} number @returns {Host} */
const host = (number) => ({
  mac: [2, 0, 0, 0, 0x77, number],
  ip4: [10, 77, 0, number],
  ip6: [0xfd, 0, 0, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, number],
});
/** The guest at whose vif it was captured, one on the other machine, and a driver domain. */
const [a, b, driver] = [host(11), host(12), host(1)];

/**
 * The frames with their times, without a file.
 * @param {number} seed
 * @returns {Timed[]}
 */
export function mixedFrames(seed) {
  const next = random(seed);
  /** @param {number} from @param {number} to */
  const pick = (from, to) => from + Math.floor(next() * (to - from + 1));
  /** @param {number} length */
  const data = (length) => Uint8Array.from({ length }, () => pick(0, 255));

  /** @param {Uint8Array[]} frames @param {(index: number) => boolean} outbound @param {'native'} [path] @returns {Captured[]} */
  const flow = (frames, outbound, path) =>
    frames.map((bytes, i) => ({
      bytes,
      outbound: outbound(i),
      path: path ?? (i < SLOW_FRAMES ? 'slow' : 'fast'),
    }));
  const inTurn = (/** @type {number} */ i) => i % 2 === 0;

  /** @param {Host} from @param {Host} to @param {Link} link @param {number[]} sizes */
  const pings = (from, to, link, sizes) => {
    const id = pick(1, 0xffff);
    return sizes.flatMap((size, sequence) => {
      const what = { id, sequence, data: data(size) };
      return [
        echo(from, to, link, { ...what, reply: false }),
        echo(to, from, link, { ...what, reply: true }),
      ];
    });
  };

  /** @param {Link} link @param {string} name */
  const lookup = (link, name) => {
    const labels = name.split('.').flatMap((label) => [label.length, ...Buffer.from(label)]);
    const [id, source] = [pick(1, 0xffff), pick(32_768, 60_999)];
    const type = link.version === 4 ? 1 : 28;
    const question = [...labels, 0, 0, type, 0, 1];
    const address = link.version === 4 ? b.ip4 : b.ip6;
    const answer = [0xc0, 12, 0, type, 0, 1, 0, 0, 0, 60, 0, address.length, ...address];
    /** @param {number[]} rest */
    const message = (...rest) => Uint8Array.from([id >>> 8, id & 0xff, ...rest]);
    const asked = message(1, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...question);
    const told = message(0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0, ...question, ...answer);
    return [
      udp(a, b, link, { source, target: 53, id: pick(1, 0xffff), data: asked }),
      udp(b, a, link, { source: 53, target: source, id: pick(1, 0xffff), data: told }),
    ];
  };

  /**
   * A TCP connection from a to b: handshake, the sizes sent by a with an answer after every second, close.
   * @param {Link} link @param {number} mss @param {number[]} sizes @returns {Captured[]}
   */
  const connection = (link, mss, sizes) => {
    const ports = { a: pick(32_768, 60_999), b: 5201 };
    const at = { a: pick(1, 2 ** 31), b: pick(1, 2 ** 31) };
    /** @type {Captured[]} */
    const frames = [];
    /** @param {'a' | 'b'} who @param {number} flags @param {{ mss?: number, data?: Uint8Array }} [more] */
    const send = (who, flags, more = {}) => {
      const [from, to, other] =
        who === 'a' ? [a, b, /** @type {const} */ ('b')] : [b, a, /** @type {const} */ ('a')];
      const acknowledge = (flags & TCP.ack) === 0 ? 0 : at[other];
      const what = { source: ports[who], target: ports[other], sequence: at[who], acknowledge, flags };
      const bytes = tcp(from, to, link, { ...what, ...more, id: pick(1, 0xffff) });
      frames.push({ bytes, outbound: who === 'a', path: frames.length < SLOW_FRAMES ? 'slow' : 'fast' });
      at[who] += (more.data?.length ?? 0) + ((flags & (TCP.syn | TCP.fin)) === 0 ? 0 : 1);
    };
    send('a', TCP.syn, { mss });
    send('b', TCP.syn | TCP.ack, { mss });
    send('a', TCP.ack);
    sizes.forEach((size, i) => {
      send('a', TCP.psh | TCP.ack, { data: data(size) });
      if (i % 2 === 1) send('b', TCP.ack);
    });
    send('b', TCP.psh | TCP.ack, { data: data(32) });
    send('a', TCP.fin | TCP.ack);
    send('b', TCP.fin | TCP.ack);
    send('a', TCP.ack);
    return frames;
  };

  /** @param {Link} link @param {number[]} sizes */
  const datagrams = (link, sizes) => {
    const [source, target] = [pick(32_768, 60_999), 9];
    return sizes.map((size) => udp(a, b, link, { source, target, id: pick(1, 0xffff), data: data(size) }));
  };
  /** @param {number} count @param {number} most */
  const sizes = (count, most) => Array.from({ length: count }, () => pick(1, most));
  const always = () => true;
  /** @type {Link} */
  const four = { version: 4 };
  /** @type {Link} */
  const six = { version: 6 };
  const vlan = 100;

  const flows = [
    flow(
      [arp(a, b, false), arp(b, a, true), arp(driver, a, false), arp(a, driver, true)],
      (i) => i === 0 || i === 3,
    ),
    flow([neighbourSolicitation(a, b), neighbourAdvertisement(b, a)], inTurn),
    flow(pings(a, b, four, [56, 0, 1000, 1472, 8972]), inTurn),
    flow(pings(a, b, six, [56, 1452]), inTurn),
    flow(pings(driver, b, four, [56, 1472]), inTurn, 'native'),
    flow(lookup(four, 'beta.lab.example'), inTurn),
    flow(lookup(six, 'b.beta.lab.example'), inTurn),
    connection(four, 1460, [1, 536, 1460, 1460, 1460, 1460, 1460, 1460, 700, 3]),
    connection(four, 8960, [8960, 8960, 8960, 4000]),
    connection(six, 1440, [1440, 1440, 1440, 1440, 20]),
    connection({ version: 4, vlan }, 1460, [1460, 1460, 120]),
    flow([arp(a, b, false, vlan), arp(b, a, true, vlan)], inTurn),
    flow([neighbourSolicitation(a, b, vlan), neighbourAdvertisement(b, a, vlan)], inTurn),
    flow(pings(a, b, { version: 6, vlan }, [56, 200]), inTurn),
    flow(datagrams({ version: 4, vlan }, sizes(6, 1472)), always),
    flow(datagrams(six, [8952, ...sizes(11, 1452)]), always),
    flow(udpFragments(a, b, { source: 40_000, target: 9, id: 77, data: data(2000), cut: 1480 }), always),
  ];
  const count = flows.reduce((sum, frames) => sum + frames.length, 0);
  flows.push(flow(datagrams(four, [0, 18, 1472, ...sizes(FRAMES - count - 3, 600)]), always));

  // One time line: a flow at random goes on, each in its own order.
  /** @type {Timed[]} */
  const frames = [];
  let timeNs = 0;
  while (frames.length < FRAMES) {
    const left = flows.filter((frames) => frames.length > 0);
    frames.push({ .../** @type {Captured} */ (left[pick(0, left.length - 1)].shift()), timeNs });
    timeNs += pick(1_000, 400_000);
  }
  return frames;
}

/**
 * Writes them with a writer of @netaccel/host.
 * @param {{ CaptureWriter: any, CaptureDirection: any }} host the package
 * @param {any} writer one that was just made
 * @param {number} seed
 */
export function writeMixed({ CaptureDirection }, writer, seed) {
  const vif = writer.addInterface({ name: 'alpha.a', description: 'vif of guest a on host alpha' });
  const port = writer.addInterface({ name: 'alpha.eth0', description: 'NIC port of host alpha' });
  for (const { bytes, outbound, path, timeNs } of mixedFrames(seed)) {
    const direction = outbound ? CaptureDirection.outbound : CaptureDirection.inbound;
    writer.packet(bytes, path === 'native' ? port : vif, direction, timeNs, path);
  }
  writer.close();
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const host = await import(new URL('../dist/index.js', import.meta.url).href);
  const path = process.argv[2] ?? fileURLToPath(new URL('../captures/mixed.pcapng', import.meta.url));
  const comment = `made by scripts/make-capture.mjs with seed ${SEED}`;
  writeMixed(host, host.CaptureWriter.create(path, { originMs: ORIGIN_MS, comment }), SEED);
  console.log(`${path}: ${FRAMES} frames`);
}
