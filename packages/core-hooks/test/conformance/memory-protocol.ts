// What the good plugin's halves share: the layout of the pages, and the messages.

export const PAGE = 4096;

/** A row of a ring: three words, and for receive which buffer. */
export const Slot = { bytes: 16, length: 0, flags: 4, segment: 8, buffer: 12 } as const;

/** First page: indices and rings. */
const txBuffers = PAGE;
const TX_SLOTS = 8;
const TX_BYTES = 4 * PAGE;
const RX_SLOTS = 32;

/** Transmit: slots and their buffers. */
export const TX = {
  slots: TX_SLOTS,
  bytes: TX_BYTES,
  pages: 1 + (TX_SLOTS * TX_BYTES) / PAGE,
  producer: 0,
  consumer: 4,
  ring: 256,
  buffers: txBuffers,
} as const;

/** Receive: slots, their buffers, and a ring of free buffers. */
export const RX = {
  slots: RX_SLOTS,
  bytes: 2048,
  pages: (RX_SLOTS * 2048) / PAGE,
  producer: 8,
  posted: 12,
  taken: 16,
  ring: 1024,
  free: 2048,
  buffers: txBuffers + TX_SLOTS * TX_BYTES,
} as const;

/** Message types. */
export const Message = { pages: 1, open: 2, quiesce: 3, address: 4, claim: 5, link: 6 } as const;

export function encodePages(first: number, refs: Uint32Array): Uint8Array {
  const bytes = new Uint8Array(2 + refs.length * 4);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, first);
  view.setUint8(1, refs.length);
  refs.forEach((ref, i) => view.setUint32(2 + i * 4, ref));
  return bytes;
}

/** Throws unless it is a chunk that can be. */
export function decodePages(bytes: Uint8Array): { first: number; refs: Uint32Array } {
  const count = bytes[1] ?? 0;
  if (count === 0 || count > 24 || bytes.length !== 2 + count * 4) throw new RangeError('no chunk of pages');
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return { first: bytes[0]!, refs: Uint32Array.from({ length: count }, (_, i) => view.getUint32(2 + i * 4)) };
}

/** The port of the card's channel, and the addresses that the guest may use; none listed: any. */
export function encodeOpened(port: number, addresses: readonly Uint8Array[] = []): Uint8Array {
  const bytes = new Uint8Array(4 + addresses.reduce((sum, { length }) => sum + 1 + length, 0));
  new DataView(bytes.buffer).setUint32(0, port);
  let at = 4;
  for (const address of addresses) {
    bytes[at] = address.length;
    bytes.set(address, at + 1);
    at += 1 + address.length;
  }
  return bytes;
}

/** Throws unless it is what {@link encodeOpened} makes. */
export function decodeOpened(bytes: Uint8Array): { port: number; addresses: Uint8Array[] } {
  if (bytes.length < 4) throw new RangeError('no port');
  const addresses: Uint8Array[] = [];
  for (let at = 4; at < bytes.length; at += 1 + bytes[at]!) {
    const address = bytes.slice(at + 1, at + 1 + bytes[at]!);
    if (address.length !== bytes[at] || (address.length !== 4 && address.length !== 16))
      throw new RangeError('no address');
    addresses.push(address);
  }
  return { port: new DataView(bytes.buffer, bytes.byteOffset).getUint32(0), addresses };
}
