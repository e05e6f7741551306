// A small capture file (classic pcap, Ethernet): what one guest sends another, for labs without real network stacks.

/** @typedef {{ mac: string, ip: string }} End */

const FRAMES = 64;
/** Bytes of the longest frame, and between two frames. */
const LONGEST = 1514;
const GAP_US = 200;
const PORT = 7000;

/**
 * UDP datagrams of all lengths that one end sends the other.
 * @param {End} from @param {End} to
 * @returns {Buffer} the file
 */
export function captureOf(from, to) {
  const head = Buffer.alloc(24);
  head.writeUInt32LE(0xa1b2c3d4, 0); // times in microseconds
  head.writeUInt16LE(2, 4);
  head.writeUInt16LE(4, 6);
  head.writeUInt32LE(65_535, 16);
  head.writeUInt32LE(1, 20); // Ethernet
  const records = [head];
  for (let i = 0; i < FRAMES; i++) {
    const frame = datagram(from, to, 60 + Math.floor(((LONGEST - 60) * i) / (FRAMES - 1)), i);
    const record = Buffer.alloc(16);
    record.writeUInt32LE(i * GAP_US, 4);
    record.writeUInt32LE(frame.length, 8);
    record.writeUInt32LE(frame.length, 12);
    records.push(record, frame);
  }
  return Buffer.concat(records);
}

/** @param {End} from @param {End} to @param {number} length @param {number} number */
function datagram(from, to, length, number) {
  const frame = Buffer.alloc(length);
  mac(to).copy(frame, 0);
  mac(from).copy(frame, 6);
  frame.writeUInt16BE(0x0800, 12);
  const ip = frame.subarray(14);
  ip[0] = 0x45;
  ip.writeUInt16BE(length - 14, 2);
  ip.writeUInt16BE(number, 4);
  ip[8] = 64;
  ip[9] = 17;
  address(from).copy(ip, 12);
  address(to).copy(ip, 16);
  ip.writeUInt16BE(headerChecksum(ip.subarray(0, 20)), 10);
  const udp = ip.subarray(20);
  udp.writeUInt16BE(PORT, 0);
  udp.writeUInt16BE(PORT, 2);
  udp.writeUInt16BE(udp.length, 4); // its checksum is 0: none
  return frame;
}

/** @param {End} end */
const mac = ({ mac }) => Buffer.from(mac.replaceAll(':', ''), 'hex');
/** @param {End} end */
const address = ({ ip }) => Buffer.from(ip.split('.').map(Number));

/** @param {Buffer} header with its checksum field 0 */
function headerChecksum(header) {
  let sum = 0;
  for (let i = 0; i < header.length; i += 2) sum += header.readUInt16BE(i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
