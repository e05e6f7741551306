/**
 * The part of a frame's headers that decides its filter: kept of the last frame, so that a burst of one flow
 * is looked up once.
 */
import type { FrameHeaders } from '../headers.js';

/** One flow. */
export class Flow {
  private ports = 0;
  private mac0 = 0;
  private mac1 = 0;
  private flags = 0;
  private vlan = 0;
  private destination0 = 0;
  private source0 = 0;
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

  /** Whether a frame is of this flow. */
  is(h: FrameHeaders): boolean {
    return (
      this.ports === h.ports &&
      this.mac0 === h.mac0 &&
      this.mac1 === h.mac1 &&
      this.flags === h.flags &&
      this.vlan === h.vlan &&
      this.destination0 === h.destination0 &&
      this.source0 === h.source0 &&
      (h.version !== 6 || this.hasAddresses(h))
    );
  }

  private hasAddresses(h: FrameHeaders): boolean {
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
