/**
 * The multicast groups that a guest asked for (`feature-multicast-control`): which group frames go to it.
 *
 * Until the guest asks for control, every group frame does. Kept by the vif, changed by extra info on any of
 * its transmit rings, asked once per frame to a group address.
 */
import type { Address } from '@netaccel/core-hooks';

/** Bit of a MAC address's first byte that says group. */
export const GROUP_BIT = 1;
const ADDRESS_BYTES = 6;

/** A bounded set of group addresses. */
export class MulticastGroups {
  /** The guest chooses (`request-multicast-control`). */
  controlled = false;
  private readonly addresses: Uint8Array;
  private count = 0;

  /** @param most groups at most. */
  constructor(private readonly most: number) {
    this.addresses = new Uint8Array(most * ADDRESS_BYTES);
  }

  /** Groups joined, as text, for people. */
  describe(): string[] {
    return Array.from({ length: this.count }, (_, i) =>
      Array.from(this.addresses.subarray(i * ADDRESS_BYTES, (i + 1) * ADDRESS_BYTES), (b) =>
        b.toString(16).padStart(2, '0'),
      ).join(':'),
    );
  }

  /** Joins; false when there is no room. Joining twice changes nothing. */
  join(address: Uint8Array): boolean {
    if (this.find(address, 0) >= 0) return true;
    if (this.count === this.most) return false;
    this.addresses.set(address, this.count++ * ADDRESS_BYTES);
    return true;
  }

  /** Leaves; a group that was not joined is no mistake. */
  leave(address: Uint8Array): void {
    const i = this.find(address, 0);
    if (i < 0) return;
    this.count--;
    this.addresses.copyWithin(
      i * ADDRESS_BYTES,
      this.count * ADDRESS_BYTES,
      (this.count + 1) * ADDRESS_BYTES,
    );
  }

  /** Forgets all: a new connection begins with none. */
  clear(): void {
    this.count = 0;
    this.controlled = false;
  }

  /** Whether a frame whose destination is the group address at `at` goes to the guest; broadcast always does. */
  wants(bytes: Uint8Array, at: Address): boolean {
    if (!this.controlled) return true;
    let broadcast = true;
    for (let i = 0; i < ADDRESS_BYTES; i++) if (bytes[at + i] !== 0xff) broadcast = false;
    return broadcast || this.find(bytes, at) >= 0;
  }

  private find(bytes: Uint8Array, at: number): number {
    outer: for (let n = 0; n < this.count; n++) {
      for (let i = 0; i < ADDRESS_BYTES; i++)
        if (this.addresses[n * ADDRESS_BYTES + i] !== bytes[at + i]) continue outer;
      return n;
    }
    return -1;
  }
}
