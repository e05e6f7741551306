/**
 * What the encoder of each format offers the writer. A packet is begun, its bytes are put into the staging
 * buffer by the writer, and it is ended: half a packet never goes out, because room for the whole was
 * reserved before.
 */
import type { CaptureDirection } from './packet.js';

/** Nanoseconds since 1970 of the moment that a writer's `timeNs` counts from. */
export type CaptureEpoch = bigint;

/** Encodes one format into a staging buffer. */
export interface CaptureEncoder {
  /** Bytes of a packet besides its captured ones, at most. */
  readonly overheadBytes: number;
  /** Writes an interface; false when the sink failed. */
  describe(name: string, description: string | undefined): boolean;
  /** Writes what stands before a packet's bytes. */
  begin(interfaceIndex: number, timeNs: number, originalBytes: number): void;
  /** Writes what stands behind them. */
  end(direction: CaptureDirection, comment: string | undefined, packetId: number | undefined): void;
}
