/** Frames for tests: Ethernet with TCP or UDP over IPv4 or IPv6, and naive checks of them, written without the
 * driver's own helpers so that a mistake there shows. */

export interface FrameShape {
  readonly version?: 4 | 6;
  readonly protocol?: 'tcp' | 'udp';
  readonly payload?: Uint8Array;
  /** VLAN tags. */
  readonly tags?: number;
  /** Bytes of IPv4 or TCP options, multiples of 4; of IPv6 extension headers, a multiple of 8. */
  readonly ipOptions?: number;
  readonly tcpOptions?: number;
  readonly tcpFlags?: number;
  readonly sequence?: number;
  readonly id?: number;
  readonly ports?: readonly [number, number];
  /** What goes into the checksum field: right, the pseudo header's sum, or zero. */
  readonly checksum?: 'full' | 'pseudo' | 'zero';
  readonly destination?: readonly number[];
}

function sum16(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i]! << 8) | (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
  return sum;
}

function add16(a: number, b: number): number {
  const sum = a + b;
  return (sum & 0xffff) + (sum >>> 16);
}

/** Where things are in a frame that `build` made, found again from its bytes. */
export function locate(frame: Uint8Array): {
  network: number;
  transport: number;
  version: 4 | 6;
  tcp: boolean;
  payload: number;
  checksum: number;
} {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  let network = 14;
  while (view.getUint16(network - 2) === 0x8100) network += 4;
  const version = (frame[network]! >>> 4) as 4 | 6;
  let transport: number;
  let protocol: number;
  if (version === 4) {
    transport = network + (frame[network]! & 15) * 4;
    protocol = frame[network + 9]!;
  } else {
    transport = network + 40;
    protocol = frame[network + 6]!;
    while (protocol === 60) {
      protocol = frame[transport]!;
      transport += (frame[transport + 1]! + 1) * 8;
    }
  }
  const tcp = protocol === 6;
  const payload = transport + (tcp ? (frame[transport + 12]! >>> 4) * 4 : 8);
  return { network, transport, version, tcp, payload, checksum: transport + (tcp ? 16 : 6) };
}

function pseudoSum(frame: Uint8Array): number {
  const { network, transport, version, tcp } = locate(frame);
  const addresses =
    version === 4 ? frame.subarray(network + 12, network + 20) : frame.subarray(network + 8, network + 40);
  const length = endOf(frame) - transport;
  return add16(add16(sum16(addresses), tcp ? 6 : 17), length);
}

/** First byte after the IP packet. */
export function endOf(frame: Uint8Array): number {
  const { network, version } = locate(frame);
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  return version === 4 ? network + view.getUint16(network + 2) : network + 40 + view.getUint16(network + 4);
}

/** Whether IPv4's header checksum and the transport's are right. */
export function verify(frame: Uint8Array): boolean {
  const { network, transport, version } = locate(frame);
  if (version === 4 && sum16(frame.subarray(network, transport)) !== 0xffff) return false;
  return add16(pseudoSum(frame), sum16(frame.subarray(transport, endOf(frame)))) === 0xffff;
}

/** Whether the checksum field holds the pseudo header's sum. */
export function isBlank(frame: Uint8Array): boolean {
  const { checksum } = locate(frame);
  return ((frame[checksum]! << 8) | frame[checksum + 1]!) === pseudoSum(frame);
}

/** Writes the right checksum over what is there. */
export function complete(frame: Uint8Array): void {
  const { transport, checksum } = locate(frame);
  frame[checksum] = frame[checksum + 1] = 0;
  const value = ~add16(pseudoSum(frame), sum16(frame.subarray(transport, endOf(frame)))) & 0xffff;
  frame[checksum] = value >>> 8;
  frame[checksum + 1] = value & 0xff;
}

/** A frame of that shape. */
export function build(shape: FrameShape = {}): Uint8Array {
  const {
    version = 4,
    protocol = 'tcp',
    payload = new Uint8Array(0),
    tags = 0,
    ipOptions = 0,
    tcpOptions = 0,
    tcpFlags = 0x18,
    sequence = 1,
    id = 7,
    ports = [1000, 2000],
    checksum = 'full',
    destination = [0x02, 0, 0, 0, 0, 2],
  } = shape;
  const tcp = protocol === 'tcp';
  const network = 14 + 4 * tags;
  const ipBytes = (version === 4 ? 20 : 40) + ipOptions;
  const transport = network + ipBytes;
  const transportBytes = tcp ? 20 + tcpOptions : 8;
  const frame = new Uint8Array(transport + transportBytes + payload.length);
  const view = new DataView(frame.buffer);
  frame.set(destination, 0);
  frame.set([0x02, 0, 0, 0, 0, 1], 6);
  for (let tag = 0; tag < tags; tag++) {
    view.setUint16(12 + 4 * tag, 0x8100);
    view.setUint16(14 + 4 * tag, 5 + tag);
  }
  view.setUint16(network - 2, version === 4 ? 0x0800 : 0x86dd);
  if (version === 4) {
    frame[network] = 0x40 | (ipBytes / 4);
    view.setUint16(network + 2, frame.length - network);
    view.setUint16(network + 4, id);
    frame[network + 8] = 64;
    frame[network + 9] = tcp ? 6 : 17;
    frame.set([10, 0, 0, 1, 10, 0, 0, 2], network + 12);
    frame.fill(1, network + 20, network + ipBytes);
    const header = ~sum16(frame.subarray(network, transport)) & 0xffff;
    view.setUint16(network + 10, header);
  } else {
    frame[network] = 0x60;
    view.setUint16(network + 4, frame.length - network - 40);
    frame[network + 6] = ipOptions > 0 ? 60 : tcp ? 6 : 17;
    frame[network + 7] = 64;
    for (let i = 8; i < 40; i++) frame[network + i] = i * 3;
    if (ipOptions > 0) {
      frame[network + 40] = tcp ? 6 : 17;
      frame[network + 41] = ipOptions / 8 - 1;
    }
  }
  view.setUint16(transport, ports[0]);
  view.setUint16(transport + 2, ports[1]);
  if (tcp) {
    view.setUint32(transport + 4, sequence);
    view.setUint32(transport + 8, 99);
    frame[transport + 12] = (transportBytes / 4) << 4;
    frame[transport + 13] = tcpFlags;
    view.setUint16(transport + 14, 1000);
    frame.fill(1, transport + 20, transport + transportBytes);
  } else view.setUint16(transport + 4, 8 + payload.length);
  frame.set(payload, transport + transportBytes);
  const at = transport + (tcp ? 16 : 6);
  if (checksum === 'pseudo') view.setUint16(at, pseudoSum(frame));
  if (checksum === 'full') complete(frame);
  return frame;
}

/** What a large TCP segment is when cut by the rules of RFC 793, 3168 and Linux's `tcp_gso_segment`: whole frames. */
export function cutNaively(frame: Uint8Array, segmentBytes: number): Uint8Array[] {
  const { network, version, transport, payload } = locate(frame);
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const data = frame.subarray(payload, endOf(frame));
  const out: Uint8Array[] = [];
  const count = Math.max(1, Math.ceil(data.length / segmentBytes));
  for (let i = 0; i < count; i++) {
    const piece = data.subarray(i * segmentBytes, (i + 1) * segmentBytes);
    const segment = new Uint8Array(payload + piece.length);
    segment.set(frame.subarray(0, payload));
    segment.set(piece, payload);
    const own = new DataView(segment.buffer);
    own.setUint32(transport + 4, (view.getUint32(transport + 4) + i * segmentBytes) >>> 0);
    let flags = frame[transport + 13]!;
    if (i > 0) flags &= ~0x80;
    if (i < count - 1) flags &= ~0x09;
    segment[transport + 13] = flags;
    if (version === 4) {
      own.setUint16(network + 2, segment.length - network);
      own.setUint16(network + 4, (view.getUint16(network + 4) + i) & 0xffff);
      own.setUint16(network + 10, 0);
      own.setUint16(network + 10, ~sum16(segment.subarray(network, transport)) & 0xffff);
    } else own.setUint16(network + 4, segment.length - network - 40);
    complete(segment);
    out.push(segment);
  }
  return out;
}
