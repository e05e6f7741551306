/**
 * Rows of a wire layout: the one place where an offset, a width or a value is written down.
 *
 * Accessors are derived from the rows once, at load; dumps and the protocol pages of the documentation are
 * printed from the same rows.
 */

/** One field of a structure. */
export interface Field {
  /** Its name in the public header. */
  readonly name: string;
  /** Bytes from the start of the structure. */
  readonly offset: number;
  /** Bytes it takes. */
  readonly width: number;
  /** `u` unsigned, `s` signed, `b` plain bytes. Little-endian, as on x86. */
  readonly kind: 'u' | 's' | 'b';
  /** What it means. */
  readonly note: string;
}

/** A structure as a table. */
export interface Layout<Name extends string = string> {
  /** The structure's name in the public header. */
  readonly name: string;
  /** Bytes of the whole. */
  readonly size: number;
  /** Where the layout is laid down. */
  readonly source: string;
  /** The fields by name. */
  readonly fields: Readonly<Record<Name, Field>>;
}

/** Row of a field: offset, width, kind, note. */
export type Row = readonly [offset: number, width: number, kind: Field['kind'], note: string];

/**
 * Makes a layout and checks that each field lies within it and is aligned to its width.
 * @throws RangeError for a row that breaks this: our own mistake, found at load.
 */
export function layout<Name extends string>(
  name: string,
  size: number,
  source: string,
  rows: Readonly<Record<Name, Row>>,
): Layout<Name> {
  const fields = {} as Record<Name, Field>;
  for (const key of Object.keys(rows) as Name[]) {
    const [offset, width, kind, note] = rows[key];
    if (offset + width > size || (kind !== 'b' && offset % width !== 0))
      throw new RangeError(`${name}.${key}: ${width} bytes at ${offset} do not fit or align in ${size}`);
    fields[key] = { name: key, offset, width, kind, note };
  }
  return { name, size, source, fields };
}

/** Writes a value of a layout: what tests' byte vectors and control-plane code use; missing fields are zero. */
export function encode<Name extends string>(
  of: Layout<Name>,
  value: Partial<Record<Name, number | readonly number[]>>,
): Uint8Array {
  const bytes = new Uint8Array(of.size);
  const view = new DataView(bytes.buffer);
  for (const key of Object.keys(value) as Name[]) {
    const { offset, width, kind } = of.fields[key];
    const v = value[key]!;
    if (kind === 'b') bytes.set(v as readonly number[], offset);
    else if (width === 1) view.setUint8(offset, v as number);
    else if (width === 2) view.setUint16(offset, v as number, true);
    else view.setUint32(offset, v as number, true);
  }
  return bytes;
}

/** Reads all fields of a layout; `b` fields come as arrays. */
export function decode<Name extends string>(
  of: Layout<Name>,
  bytes: Uint8Array,
): Record<Name, number | number[]> {
  if (bytes.length < of.size)
    throw new RangeError(`${of.name}: ${of.size} bytes expected, ${bytes.length} seen`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const out = {} as Record<Name, number | number[]>;
  for (const key of Object.keys(of.fields) as Name[]) {
    const { offset, width, kind } = of.fields[key];
    if (kind === 'b') out[key] = [...bytes.subarray(offset, offset + width)];
    else if (width === 1) out[key] = kind === 's' ? view.getInt8(offset) : view.getUint8(offset);
    else if (width === 2)
      out[key] = kind === 's' ? view.getInt16(offset, true) : view.getUint16(offset, true);
    else out[key] = kind === 's' ? view.getInt32(offset, true) : view.getUint32(offset, true);
  }
  return out;
}
