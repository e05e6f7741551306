/**
 * Reads the options at the end of a pcapng block into one plain object; unknown codes are left out.
 *
 * Called by the pcapng decoder. A list that breaks off, or an option of the wrong length, is a fault that
 * costs no packet: what was read stands.
 */
import type { CaptureFaults } from './fault.js';
import { OPTION, OptionCode, padded } from './layouts.js';
import type { CaptureWindow } from './window.js';

const text = new TextDecoder();

/** How the value of an option is read. */
type Kind = 'text' | 'u8' | 'u32' | 'u64' | 's64';

const WIDTH: Readonly<Record<Exclude<Kind, 'text'>, number>> = { u8: 1, u32: 4, u64: 8, s64: 8 };

/** The options of one kind of block that are read: code, name in the specification, kind. */
export type OptionTable<Name extends string> = Readonly<
  Record<Name, { readonly code: number; readonly title: string; readonly kind: Kind }>
>;

/** What was read, by name; several comments may stand in one block, of the others the first counts. */
export interface OptionValues<Name extends string> {
  /** opt_comment, each. */
  readonly comments: readonly string[];
  /** Text values by name. */
  readonly texts: Partial<Record<Name, string>>;
  /** 8- and 32-bit numbers by name. */
  readonly numbers: Partial<Record<Name, number>>;
  /** 64-bit numbers by name. */
  readonly wides: Partial<Record<Name, bigint>>;
}

/** Where to read, as indexes in the window's bytes. */
export interface OptionRange {
  /** First byte of the first option. */
  readonly start: number;
  /** One behind the last byte that options may take. */
  readonly end: number;
  /** The section's byte order. */
  readonly little: boolean;
}

/** Reads one block's options. */
export function readOptions<Name extends string>(
  window: CaptureWindow,
  { start, end, little }: OptionRange,
  table: OptionTable<Name>,
  faults: CaptureFaults,
): OptionValues<Name> {
  const { view, bytes } = window;
  const place = window.offset - window.at;
  const comments: string[] = [];
  const texts: Partial<Record<Name, string>> = {};
  const numbers: Partial<Record<Name, number>> = {};
  const wides: Partial<Record<Name, bigint>> = {};
  const names = Object.keys(table) as Name[];
  for (let at = start; at < end;) {
    const room = end - at - OPTION.size;
    const code = room < 0 ? 0 : view.getUint16(at + OPTION.at.code, little);
    const length = room < 0 ? 0 : view.getUint16(at + OPTION.at.valueBytes, little);
    if (room < 0 || length > room) {
      faults.add({
        code: 'CAPTURE_BAD_OPTION',
        consequence: 'kept',
        offset: place + at,
        expected:
          room < 0 ? `an option of at least ${OPTION.size} bytes` : `an option of at most ${room} bytes`,
        seen: room < 0 ? `${end - at} bytes` : `${length} bytes`,
        advice: 'the options before it were kept; the writer of this file is at fault',
      });
      break;
    }
    if (code === OptionCode.endOfOptions) break;
    const valueAt = at + OPTION.size;
    at = valueAt + padded(length);
    if (code === OptionCode.comment) {
      comments.push(decodeText(bytes, valueAt, length));
      continue;
    }
    const name = names.find((n) => table[n].code === code);
    if (name === undefined) continue;
    const { kind, title } = table[name];
    if (kind === 'text') {
      texts[name] ??= decodeText(bytes, valueAt, length);
      continue;
    }
    if (length !== WIDTH[kind]) {
      faults.add({
        code: 'CAPTURE_BAD_OPTION',
        consequence: 'kept',
        offset: place + valueAt - OPTION.size + OPTION.at.valueBytes,
        expected: `${WIDTH[kind]} bytes for ${title}`,
        seen: `${length}`,
        advice: 'the option was left out; the writer of this file is at fault',
      });
      continue;
    }
    if (kind === 'u8') numbers[name] ??= view.getUint8(valueAt);
    else if (kind === 'u32') numbers[name] ??= view.getUint32(valueAt, little);
    else if (kind === 'u64') wides[name] ??= view.getBigUint64(valueAt, little);
    else wides[name] ??= view.getBigInt64(valueAt, little);
  }
  return { comments, texts, numbers, wides };
}

/** UTF-8; some writers end it with zero bytes, which are no part of it. */
function decodeText(bytes: Uint8Array, at: number, length: number): string {
  let end = at + length;
  while (end > at && bytes[end - 1] === 0) end--;
  return text.decode(bytes.subarray(at, end));
}
