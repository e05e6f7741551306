// A domain that dies as a real one does: nothing of it goes on, not even a promise, and the store lets go of it.
import { expect, test } from 'vitest';
import { SimMachine } from '../../src/sim/index.js';

test.each([0, 1])(
  'a request of domain %i that dies is forgotten, and what waits for it never goes on',
  async (id) => {
    const machine = new SimMachine({ pages: 2048, domains: 4, ports: 64 });
    const domain = machine.createDomain(id);
    await machine.settle();
    const story: string[] = [];
    const page = domain.pages.allocate(1);
    void domain.store
      .watch('/local', () => story.push('watch'))
      .then(() => story.push('watching'))
      .finally(() => domain.pages.free(page));
    await machine.lab.turn();
    machine.destroyDomain(id, 'forget');
    const again = machine.createDomain(id);
    const own = again.pages.allocate(1);
    await machine.settle();
    expect(story).toEqual([]);
    expect(again.ledger()).toMatchObject({ pages: 1, watches: 0 });
    again.pages.free(own);
    expect(story).toEqual([]);
  },
);
