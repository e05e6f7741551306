// What the card in memory does to frames on their way out: checksums filled in, large segments cut. Written apart
// from the kit's own checks, from RFC 1071, 9293 and 3168.

function sum(view: DataView, from: number, to: number, initial = 0): number {
  let total = initial;
  for (let i = from; i < to; i += 2) total += i + 1 < to ? view.getUint16(i) : view.getUint8(i) << 8;
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16);
  return total;
}

interface Places {
  readonly l3: number;
  readonly l4: number;
  readonly tcp: boolean;
  readonly ipv4: boolean;
}

function places(view: DataView): Places {
  const tagged = view.getUint16(12) === 0x8100;
  const l3 = tagged ? 18 : 14;
  const ipv4 = view.getUint16(l3 - 2) === 0x0800;
  return { l3, l4: l3 + (ipv4 ? 20 : 40), ipv4, tcp: view.getUint8(l3 + (ipv4 ? 9 : 6)) === 6 };
}

/** Fills in the transport checksum; the same bytes. */
export function fill(bytes: Uint8Array): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const { l3, l4, ipv4, tcp } = places(view);
  const end = ipv4 ? l3 + view.getUint16(l3 + 2) : l4 + view.getUint16(l3 + 4);
  if (end > bytes.length) return bytes;
  const field = l4 + (tcp ? 16 : 6);
  view.setUint16(field, 0);
  const pseudo = sum(view, ipv4 ? l3 + 12 : l3 + 8, l4, (tcp ? 6 : 17) + end - l4);
  const value = ~sum(view, l4, end, pseudo) & 0xffff;
  view.setUint16(field, value === 0 && !tcp ? 0xffff : value);
  return bytes;
}

/** Cuts a TCP frame into segments of `segmentBytes` payload. */
export function cut(bytes: Uint8Array, segmentBytes: number): Uint8Array[] {
  const whole = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const { l3, l4, ipv4 } = places(whole);
  const head = l4 + (whole.getUint8(l4 + 12) >>> 4) * 4;
  const sequence = whole.getUint32(l4 + 4);
  const flags = whole.getUint8(l4 + 13);
  const frames: Uint8Array[] = [];
  for (let at = head; at < bytes.length; at += segmentBytes) {
    const part = bytes.subarray(at, at + segmentBytes);
    const last = at + segmentBytes >= bytes.length;
    const frame = new Uint8Array(head + part.length);
    frame.set(bytes.subarray(0, head));
    frame.set(part, head);
    const view = new DataView(frame.buffer);
    if (ipv4) {
      view.setUint16(l3 + 2, frame.length - l3);
      view.setUint16(l3 + 4, (whole.getUint16(l3 + 4) + frames.length) & 0xffff);
      view.setUint16(l3 + 10, 0);
      view.setUint16(l3 + 10, ~sum(view, l3, l4) & 0xffff);
    } else view.setUint16(l3 + 4, frame.length - l4);
    view.setUint32(l4 + 4, (sequence + at - head) >>> 0);
    view.setUint8(l4 + 13, flags & (last ? 0xff : ~0x09) & (frames.length === 0 ? 0xff : ~0x80));
    frames.push(fill(frame));
  }
  return frames;
}
