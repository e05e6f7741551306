/** A VI at the other end of the wire: gets what is sent, and sends. */
import { Station, stationPages } from './station.js';
import type { TwoNics } from './two-nics.js';

/** See the top of the file. */
export class FarEnd {
  /** Frames that arrived, in order. */
  readonly frames: Uint8Array[] = [];
  private readonly station: Station;

  /** @param nics of whom. */
  constructor(nics: TwoNics) {
    const { memory, peerNic } = nics;
    this.station = new Station(
      memory,
      peerNic,
      stationPages((pages) => memory.allocate(pages)),
    );
  }

  /** Sends a frame to the first NIC. */
  send(bytes: Uint8Array): void {
    this.look();
    this.station.send(bytes);
  }

  /** Takes what arrived: all frames so far. */
  look(): Uint8Array[] {
    this.frames.push(...this.station.take());
    return this.frames;
  }
}
