/**
 * Which addresses are across the wire, and which on this host, as the port's frames show it; and telling the guest.
 *
 * A frame from the wire has its source across; one that leaves for the wire by the slow path has it here, be it
 * the gratuitous ARP of a guest that has just moved in or anything else. The guest is told of each address once, of
 * one that changed sides at once, and of all again from time to time, so that what was lost mends itself.
 */
import type { BackendServices, Frame } from '@netaccel/core-hooks';
import { MacTable, macHigh, macLow } from './mac-table.js';
import { ControlMessage, encodeAddress } from './protocol.js';
import type { Outbox } from './outbox.js';

/** Addresses remembered, and for how long one is not told of again. */
const PLACES = 1024;
const AGAIN_MS = 60_000;
/** Frames with one source that are let through before it is looked up again. */
const REFRESH = 16;
const HERE = 0;
const ACROSS = 1;
const GROUP_BIT = 1;
/** Stands for all addresses. */
const EVERYBODY = new Uint8Array(6).fill(0xff);

/** Where one vif's neighbours are. */
export class Sightings {
  /** Times that the outbox had no room. */
  untold = 0;
  /** The guest missed an address that is here: it has to forget all, see {@link mend}. */
  missed = false;
  private readonly bytes: Uint8Array;
  private readonly places = new MacTable(PLACES, AGAIN_MS);
  private readonly ownHigh: number;
  private readonly ownLow: number;
  // The last source, by place.
  private readonly lastHigh = new Int32Array(2).fill(-1);
  private readonly lastLow = new Int32Array(2);
  private readonly left = new Int32Array(2);

  constructor(
    private readonly services: BackendServices,
    private readonly outbox: Outbox,
  ) {
    this.bytes = services.memory.bytes;
    this.ownHigh = macHigh(services.vif.mac, 0);
    this.ownLow = macLow(services.vif.mac, 0);
  }

  /** A frame came from the wire, for this guest or for everybody. */
  arrived(frame: Frame): void {
    this.see(frame, ACROSS);
  }

  /** A frame leaves for the wire. */
  leaves(frame: Frame): void {
    this.see(frame, HERE);
  }

  /** Has the guest forget every address, if it was not told of one. */
  async mend(): Promise<void> {
    if (!this.missed) return;
    this.missed = false;
    this.places.forgetPort(ACROSS);
    this.lastHigh.fill(-1);
    await this.outbox.tell(ControlMessage.localAddress, encodeAddress(EVERYBODY));
  }

  private see(frame: Frame, place: number): void {
    const at = frame.address + 6;
    const high = macHigh(this.bytes, at);
    const low = macLow(this.bytes, at);
    if (low === this.lastLow[place] && high === this.lastHigh[place] && this.left[place]! > 0) {
      this.left[place]!--;
      return;
    }
    if ((high & GROUP_BIT) !== 0 || (high === this.ownHigh && low === this.ownLow)) return;
    const now = this.services.clock.now();
    if (this.places.find(high, low, now) !== place) {
      if (!this.tell(at, place)) return;
      this.places.learn(high, low, place, now);
      this.lastHigh[1 - place] = -1; // it may come back
    }
    this.lastHigh[place] = high;
    this.lastLow[place] = low;
    this.left[place] = REFRESH;
  }

  private tell(at: number, place: number): boolean {
    const { outbox } = this;
    const payload = encodeAddress(this.bytes.slice(at, at + 6));
    const type = place === HERE ? ControlMessage.localAddress : ControlMessage.remoteAddress;
    if (outbox.post(() => this.deliver(type, payload))) return true;
    this.untold++;
    if (place === HERE) this.missed = true;
    return false;
  }

  private async deliver(type: number, payload: Uint8Array): Promise<void> {
    await this.mend();
    await this.outbox.tell(type, payload);
  }
}
