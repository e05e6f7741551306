/**
 * The part of a frame's headers that decides its filter: kept of the last frame, so that a burst of one flow
 * is looked up once.
 */
import type { FrameHeaders } from '../headers.js';

/** One flow. */
export class Flow {
  ports = 0;
  mac0 = 0;
  mac1 = 0;
  flags = 0;
  vlan = 0;
  destination0 = 0;
  source0 = 0;
  private destination1 = 0;
  private destination2 = 0;
  private destination3 = 0;
  private source1 = 0;
  private source2 = 0;
  private source3 = 0;

  /** Takes a frame's. */
  set(h: FrameHeaders): void {
    this.ports = h.ports;
    this.mac0 = h.mac0;
    this.mac1 = h.mac1;
    this.flags = h.flags;
    this.vlan = h.vlan;
    this.destination0 = h.destination0;
    this.source0 = h.source0;
    this.destination1 = h.destination1;
    this.destination2 = h.destination2;
    this.destination3 = h.destination3;
    this.source1 = h.source1;
    this.source2 = h.source2;
    this.source3 = h.source3;
  }

  /** Whether the rest of the IPv6 addresses are a frame's. */
  sameAddresses(h: FrameHeaders): boolean {
    return (
      this.destination1 === h.destination1 &&
      this.destination2 === h.destination2 &&
      this.destination3 === h.destination3 &&
      this.source1 === h.source1 &&
      this.source2 === h.source2 &&
      this.source3 === h.source3
    );
  }
}
