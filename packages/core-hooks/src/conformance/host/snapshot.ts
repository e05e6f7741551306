/** A frame as it was when it was offered, and what changed since: what `declined` and `busy` promise. */
import type { Frame } from '../../frame.js';
import type { Memory } from '../../memory.js';

const FIELDS = [
  'address',
  'length',
  'totalBytes',
  'checksum',
  'segmentation',
  'segmentBytes',
  'next',
  'holders',
] as const;

/** One fragment, as it was. */
interface Fragment {
  readonly frame: Frame;
  readonly fields: readonly unknown[];
  readonly bytes: Uint8Array;
}

/** Notes a chain down. */
export function snapshot(memory: Memory, head: Frame): Fragment[] {
  const fragments: Fragment[] = [];
  for (let frame: Frame | null = head; frame !== null; frame = frame.next)
    fragments.push({
      frame,
      fields: FIELDS.map((field) => frame[field]),
      bytes: memory.bytes.slice(frame.address, frame.address + frame.length),
    });
  return fragments;
}

/** What differs, in words; null when nothing does. */
export function touched(memory: Memory, head: Frame, before: readonly Fragment[]): string | null {
  for (const [n, { frame, fields, bytes }] of before.entries()) {
    const which = n === 0 ? '' : ` of fragment ${n}`;
    for (const [i, field] of FIELDS.entries())
      if (frame[field] !== fields[i])
        return field === 'next'
          ? `chain${which} was changed`
          : `${field}${which} became ${String(frame[field])}, was ${String(fields[i])}`;
    const at = bytes.findIndex((byte, i) => memory.bytes[frame.address + i] !== byte);
    if (at >= 0) return `byte ${at}${which} was changed`;
  }
  return before[0]?.frame === head ? null : 'chain was changed';
}
