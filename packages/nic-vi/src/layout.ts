/**
 * Rows of a layout: the one place where an offset, a bit or a width of the VI is written down.
 *
 * Both sides of the device (the VI and the NIC model) take their constants from the rows once, at load; dumps,
 * byte vectors and the protocol pages of the documentation are printed from the same rows.
 */

/** Who writes a field. The other side only reads it. */
export type Access = 'driver' | 'nic' | 'sender';

/** Row of a field: byte offset of its 32-bit word, first bit in that word, bits, who writes it, what it means. */
export type Row = readonly [offset: number, bit: number, width: number, access: Access, note: string];

/** One field of a structure. */
export interface Field {
  /** Its name. */
  readonly name: string;
  /** Byte offset of the 32-bit word that it is in, or of its first byte when it is wider than a word. */
  readonly offset: number;
  /** Its lowest bit within that word. */
  readonly bit: number;
  /** Bits it takes; more than 32 is a run of bytes. */
  readonly width: number;
  /** Who writes it. */
  readonly access: Access;
  /** What it means. */
  readonly note: string;
  /** `offset / 4`. */
  readonly word: number;
  /** The field's bits, moved to bit 0. */
  readonly mask: number;
}

/** A structure as a table. */
export interface Layout<Name extends string = string> {
  /** The structure's name. */
  readonly name: string;
  /** Bytes of the whole. */
  readonly size: number;
  /** What it is, for the documentation. */
  readonly note: string;
  /** The fields by name, in the order of the rows. */
  readonly fields: Readonly<Record<Name, Field>>;
}

/**
 * Makes a layout and checks that its rows fit and do not overlap.
 * @throws RangeError for a row that breaks this: our own mistake, found at load.
 */
export function layout<Name extends string>(
  name: string,
  size: number,
  note: string,
  rows: Readonly<Record<Name, Row>>,
): Layout<Name> {
  const fields = {} as Record<Name, Field>;
  const taken = new Set<number>();
  for (const key of Object.keys(rows) as Name[]) {
    const [offset, bit, width, access, text] = rows[key];
    const bits = bit + width;
    const fits = width > 32 ? bit === 0 && width % 8 === 0 : offset % 4 === 0 && bits <= 32;
    if (!fits || offset + Math.ceil(bits / 8) > size)
      throw new RangeError(
        `${name}.${key}: ${width} bits at byte ${offset}, bit ${bit} do not fit in ${size} bytes`,
      );
    for (let b = offset * 8 + bit; b < offset * 8 + bits; b++) {
      if (taken.has(b)) throw new RangeError(`${name}.${key} overlaps another field at bit ${b}`);
      taken.add(b);
    }
    const mask = width >= 32 ? -1 : (1 << width) - 1;
    fields[key] = { name: key, offset, bit, width, access, note: text, word: offset >>> 2, mask };
  }
  return { name, size, note, fields };
}

/** A value of a layout: integers, or bytes for a field wider than a word. */
export type Value<Name extends string> = Partial<Record<Name, number | ArrayLike<number>>>;

/**
 * Writes a value of a layout as little-endian bytes; fields left out are zero.
 * @throws RangeError for a number that its field cannot hold.
 */
export function encode<Name extends string>(of: Layout<Name>, value: Value<Name>): Uint8Array {
  const bytes = new Uint8Array(of.size);
  const view = new DataView(bytes.buffer);
  for (const key of Object.keys(value) as Name[]) {
    const { offset, bit, width } = of.fields[key];
    const v = value[key]!;
    if (typeof v !== 'number') bytes.set(Array.from(v).slice(0, width / 8), offset);
    else if (!Number.isInteger(v) || v < 0 || v >= 2 ** width)
      throw new RangeError(`${of.name}.${key}: ${v} expected to be an integer of ${width} bits`);
    else view.setUint32(offset, (view.getUint32(offset, true) | (v * 2 ** bit)) >>> 0, true);
  }
  return bytes;
}

/** Reads one integer field of a layout out of little-endian bytes. */
export function field<Name extends string>(of: Layout<Name>, bytes: Uint8Array, name: Name): number {
  const { offset, bit, width, mask } = of.fields[name];
  const word = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(offset, true);
  return width === 32 ? word : (word >>> bit) & mask;
}

/** Reads all fields of a layout; fields wider than a word come as bytes. */
export function decode<Name extends string>(
  of: Layout<Name>,
  bytes: Uint8Array,
): Record<Name, number | Uint8Array> {
  if (bytes.length < of.size)
    throw new RangeError(`${of.name}: ${of.size} bytes expected, ${bytes.length} seen`);
  const out = {} as Record<Name, number | Uint8Array>;
  for (const key of Object.keys(of.fields) as Name[]) {
    const { offset, width } = of.fields[key];
    out[key] = width > 32 ? bytes.slice(offset, offset + width / 8) : field(of, bytes, key);
  }
  return out;
}
