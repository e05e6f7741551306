/**
 * Which addresses are across the wire, and which on this host, as the port's frames show it; and telling the guest.
 *
 * The card sends every frame out on the wire, so the guest must know what is not there. Looked at for each frame that
 * passes the port, so it is one look into a table; who is new, or changed sides, is told.
 */
import type { BackendServices, Frame } from '@netaccel/core-hooks';
import { ControlMessage, MacTable, encodeAddress, macHigh, macLow } from '@netaccel/nic-vi';

/** Addresses remembered, and for how long one is not told of again. */
const PLACES = 1024;
const AGAIN_MS = 60_000;
/** Messages under way at most. */
const MOST_UNTOLD = 64;
const HERE = 0;
const ACROSS = 1;
const GROUP_BIT = 1;

/** Where one guest's neighbours are. */
export class Neighbours {
  private readonly places = new MacTable(PLACES, AGAIN_MS);
  private readonly stops: (() => void)[] = [];
  private readonly ownHigh: number;
  private readonly ownLow: number;
  private untold = 0;

  constructor(private readonly services: BackendServices) {
    this.ownHigh = macHigh(services.vif.mac, 0);
    this.ownLow = macLow(services.vif.mac, 0);
  }

  /** Begins to look. */
  start(): void {
    const { port } = this.services;
    this.stops.push(port.onReceive((frame) => this.see(frame, ACROSS)));
    this.stops.push(port.onTransmit((frame) => this.see(frame, HERE)));
  }

  /** Looks no more. */
  stop(): void {
    for (const stop of this.stops.splice(0)) stop();
  }

  /** A frame from the wire has its source across; one that leaves for it by the slow path has it here. */
  private see(frame: Frame, place: number): void {
    const { bytes } = this.services.memory;
    const at = frame.address + 6;
    const high = macHigh(bytes, at);
    const low = macLow(bytes, at);
    if ((high & GROUP_BIT) !== 0 || (high === this.ownHigh && low === this.ownLow)) return;
    const now = this.services.clock.now();
    if (this.places.find(high, low, now) === place) return;
    if (this.untold === MOST_UNTOLD) {
      // Who is across is told of with the next frame. Who is here must be, or the guest sends into the wire for it.
      if (place === HERE)
        this.services.failed('more addresses came to this host than the guest can be told of');
      return;
    }
    this.places.learn(high, low, place, now);
    const type = place === HERE ? ControlMessage.localAddress : ControlMessage.remoteAddress;
    void this.tell(type, encodeAddress(bytes.slice(at, at + 6)));
  }

  private async tell(type: number, payload: Uint8Array): Promise<void> {
    this.untold++;
    try {
      await this.services.mailbox.request(type, payload);
    } catch (error) {
      // It would go on sending into the wire what is here: off the fast path with it.
      if (this.stops.length > 0) this.services.failed(`the guest's half does not answer: ${String(error)}`);
    }
    this.untold--;
  }
}
