/**
 * The groups that this side joined at its backend (netif.h, `feature-multicast-control`): what is wanted, what the
 * backend has been told, and one request after the other for the difference.
 *
 * A request is a transmit packet without data, with extra info; it goes out on the first queue between frames, one at
 * a time. Made by `Connection`, which calls `pump` in its poll; never on the way of a frame.
 */
import type { TransmitRing } from './transmit-ring.js';

const ADDRESS_BYTES = 6;

/** Whoever wants to know what became of the groups. */
export interface GroupParts {
  /** Everything that is wanted is joined: group frames may be kept back. */
  onJoined(): void;
  /** The backend does not take that group. */
  onRefused(group: string): void;
}

/** A group address as `01:00:5e:00:00:fb`. */
function nameOf(group: Uint8Array): string {
  return Array.from(group, (byte) => byte.toString(16).padStart(2, '0')).join(':');
}

/** The groups of one connection. */
export class GroupFilter {
  private readonly wanted = new Map<string, Uint8Array>();
  private readonly joined = new Map<string, Uint8Array>();
  private asked = false;
  private refused: string | null = null;
  private announced = false;
  private open = false;

  /**
   * @param ring that requests go out on.
   * @param raise asks for a poll.
   * @param parts told what became of the groups.
   */
  constructor(
    private readonly ring: TransmitRing,
    private readonly raise: () => void,
    private readonly parts: GroupParts,
  ) {}

  /** For people. */
  describe(): Readonly<Record<string, unknown>> {
    return { joined: [...this.joined.keys()], refused: this.refused };
  }

  /**
   * The groups that are wanted from here on; null: all, so none is joined.
   * @throws RangeError for what is no group address.
   */
  want(groups: readonly Uint8Array[] | null): void {
    for (const group of groups ?? [])
      if (group.length !== ADDRESS_BYTES || (group[0]! & 1) === 0)
        throw new RangeError(`groups: expected six bytes with the group bit, saw ${nameOf(group)}`);
    this.wanted.clear();
    for (const group of groups ?? []) this.wanted.set(nameOf(group), group.slice());
    this.refused = null;
    this.announced = groups === null;
    this.raise();
  }

  /** The backend is there. */
  start(): void {
    this.open = true;
    this.raise();
  }

  /** Sends the next request, when the last one is answered and the ring has room. From the poll only. */
  pump(): void {
    if (!this.open || this.asked || this.refused !== null || !this.ring.hasRoom()) return;
    for (const [name, group] of this.wanted) if (!this.joined.has(name)) return this.ask(true, name, group);
    for (const [name, group] of this.joined) if (!this.wanted.has(name)) return this.ask(false, name, group);
    if (this.announced) return;
    this.announced = true;
    this.parts.onJoined();
  }

  private ask(join: boolean, name: string, group: Uint8Array): void {
    this.asked = true;
    this.ring.sendGroup(join, group, (taken) => {
      this.asked = false;
      if (join && taken) this.joined.set(name, group);
      else if (!join) this.joined.delete(name);
      else if (this.wanted.has(name)) {
        this.refused = name;
        this.parts.onRefused(name);
      }
      this.raise();
    });
  }
}
