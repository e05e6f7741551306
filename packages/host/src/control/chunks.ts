/**
 * What a stream of a running lab is made of: chunks of bytes and of notes, each with its length and kind before
 * it. Written by the lab, read by the client; a client's chunk of nonsense ends its connection.
 */

/** Kinds of chunk. */
export const ChunkKind = {
  /** A piece of what was asked for. */
  bytes: 0,
  /** JSON: how it goes. */
  note: 1,
  /** JSON, last: what came of it. */
  result: 2,
  /** JSON, last: `{ message, code }`. */
  error: 3,
} as const;
/** One of {@link ChunkKind}. */
export type ChunkKind = (typeof ChunkKind)[keyof typeof ChunkKind];

const HEADER_BYTES = 5;
/** Longest chunk: more is a stream that is none. */
const MAX_CHUNK_BYTES = 64 * 1024 * 1024;

/** A chunk as bytes; `bytes` are copied. */
export function encodeChunk(kind: ChunkKind, bytes: Uint8Array): Buffer {
  const chunk = Buffer.allocUnsafe(HEADER_BYTES + bytes.length);
  chunk.writeUInt32LE(bytes.length, 0);
  chunk[4] = kind;
  chunk.set(bytes, HEADER_BYTES);
  return chunk;
}

/** A JSON chunk as bytes. */
export function encodeJson(kind: ChunkKind, value: unknown): Buffer {
  return encodeChunk(kind, Buffer.from(JSON.stringify(value ?? null)));
}

/** A chunk that came. */
export interface Chunk {
  readonly kind: number;
  readonly bytes: Buffer;
}

/** Puts a stream of bytes back together. */
export class ChunkDecoder {
  private parts: Buffer[] = [];
  private held = 0;

  /** Takes bytes; hands out every chunk that is whole. @throws RangeError for a stream that is none. */
  *push(bytes: Buffer): Generator<Chunk> {
    this.parts.push(bytes);
    this.held += bytes.length;
    while (this.held >= HEADER_BYTES) {
      let all = this.joined();
      const length = all.readUInt32LE(0);
      if (length > MAX_CHUNK_BYTES)
        throw new RangeError(`chunk: at most ${MAX_CHUNK_BYTES} bytes expected, ${length} seen`);
      const size = HEADER_BYTES + length;
      if (this.held < size) return;
      const kind = all[4]!;
      const body = all.subarray(HEADER_BYTES, size);
      all = all.subarray(size);
      this.parts = [all];
      this.held = all.length;
      yield { kind, bytes: body };
    }
  }

  private joined(): Buffer {
    const all = this.parts.length === 1 ? this.parts[0]! : Buffer.concat(this.parts);
    this.parts = [all];
    return all;
  }
}
