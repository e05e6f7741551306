/** A store with domain 0 and two guests, each of which has its directory and speaks bytes. */
import { expect } from 'vitest';
import { StoreServer } from '../../src/store/index.js';
import { RawClient } from './raw-client.js';

export interface TwoGuests {
  readonly server: StoreServer;
  readonly dom0: RawClient;
  /** Domain 5. */
  readonly guest: RawClient;
  /** Domain 6. */
  readonly other: RawClient;
}

export function twoGuests(): TwoGuests {
  const server = new StoreServer();
  const dom0 = new RawClient(server, 0);
  const guest = new RawClient(server, 5);
  const other = new RawClient(server, 6);
  for (const domid of [5, 6]) {
    dom0.write(`/local/domain/${domid}`, '');
    dom0.ask('SET_PERMS', `/local/domain/${domid}|n${domid}|`);
  }
  return { server, dom0, guest, other };
}

/** The books are right, and nothing failed inside. */
export function expectIntact(server: StoreServer): void {
  expect(server.check()).toEqual([]);
  expect(server.describe().counters.internalErrors).toBe(0);
}
