/**
 * Guests of a one-thread lab that are suspended, resumed and moved, and driver domains that are restarted: each step
 * as that lab takes it. Called by `OneThreadLab`.
 */
import type { DomainId } from '@netaccel/xen';
import { macBytes } from '../demo/addresses.js';
import { accelPort } from './accel-port.js';
import { MigrationError, migrateGuest } from './migration.js';
import type { MigrationGuest, MigrationHost, MigrationReport } from './migration.js';
import type { Host, OneThreadLab, RunningGuest } from './one-thread-lab.js';
import { checkRoom } from './room.js';
import { forgetDomain, removeVif } from './toolstack.js';

/** Numbers of a driver domain, and of a guest's vif. */
const DRIVER_DOMAIN = 0;
const HANDLE = 0;
/** How long a guest may take to be connected again. */
const RESUME_MS = 10_000;

/** A guest and where it is. */
interface Place {
  readonly guest: RunningGuest;
  readonly host: Host;
}

/** The moves of one lab. */
export class OneThreadMoves {
  private readonly moving = new Set<string>();

  constructor(private readonly lab: OneThreadLab) {}

  /** {@inheritDoc OneThreadLab.migrate} */
  async migrate(guest: string, to: string): Promise<MigrationReport> {
    const { place, target } = this.check(guest, to);
    this.moving.add(guest);
    try {
      return await migrateGuest(
        this.guestOf(place),
        this.hostOf(place.host, place.guest),
        this.hostOf(target, place.guest),
        [...this.lab.hosts.values()].map(({ driver }) => driver.desk),
        this.lab.lab.clock,
      );
    } finally {
      this.moving.delete(guest);
    }
  }

  /** {@inheritDoc OneThreadLab.suspend} */
  async suspend(name: string): Promise<void> {
    const { guest, host } = this.existing(name);
    await host.driver.desk.hold(guest.domain.id, macOf(guest), false);
    await guest.guest.suspend();
  }

  /** {@inheritDoc OneThreadLab.resume} */
  async resume(name: string): Promise<void> {
    const { guest, host } = this.existing(name);
    await guest.guest.resume(RESUME_MS);
    await host.driver.desk.open(guest.domain.id, []);
  }

  private existing(name: string): Place {
    const { hosts } = this.lab;
    for (const host of hosts.values()) {
      const guest = host.guests.get(name);
      if (guest !== undefined) return { guest, host };
    }
    const names = [...hosts.values()].flatMap(({ guests }) => [...guests.keys()]);
    throw new MigrationError(
      'NO_GUEST',
      `expected a guest of the lab, saw ${name}; there are: ${names.join(', ')}`,
    );
  }

  private check(name: string, to: string): { place: Place; target: Host } {
    const place = this.existing(name);
    const { hosts, lab } = this.lab;
    const target = hosts.get(to);
    if (target === undefined)
      throw new MigrationError(
        'NO_HOST',
        `expected a host of the lab, saw ${to}; there are: ${[...hosts.keys()].join(', ')}`,
      );
    if (target === place.host)
      throw new MigrationError('SAME_HOST', `expected another host than ${to}, where ${name} is already`);
    if (this.moving.has(name))
      throw new MigrationError('UNDER_WAY', `${name} is being moved already; wait until that is over`);
    const { mappings } = lab.core.plan.shape;
    checkRoom(name, to, place.guest.plan, {
      mappings: mappings - target.machine.domain(DRIVER_DOMAIN)!.foreign.held,
      pages: lab.core.freePages,
    });
    return { place, target };
  }

  private guestOf({ guest, host }: Place): MigrationGuest {
    const { hosts } = this.lab;
    const { domain, plan } = guest;
    let at = host;
    return {
      name: plan.name,
      mac: macOf(guest),
      get id() {
        return domain.id;
      },
      get host() {
        return at.name;
      },
      suspend: () => guest.guest.suspend(),
      move: (to) => {
        const next = hosts.get(to.name)!;
        const id = at.machine.moveDomain(domain.id, next.machine, freeNumber(next));
        at.guests.delete(plan.name);
        next.guests.set(plan.name, guest);
        at = next;
        return Promise.resolve(id);
      },
      resume: (timeoutMs) => guest.guest.resume(timeoutMs),
    };
  }

  private hostOf(host: Host, { plan }: RunningGuest): MigrationHost {
    const { store } = host.machine.domain(DRIVER_DOMAIN)!;
    const { desk } = host.driver;
    return {
      name: host.name,
      desk,
      createVif: (id) => {
        const accel = accelPort(plan.accel, host.plan.nic.ports, host.plan.bridged);
        return this.lab.plugIn(host, { ...plan, accel }, id);
      },
      removeVif: async (id) => {
        await removeVif(store, DRIVER_DOMAIN, id, HANDLE);
        await desk.gone(id);
        await forgetDomain(store, id);
      },
    };
  }
}

/** The lowest number that no guest of a host has, a dead one that will boot again with its number included. */
function freeNumber({ guests, machine }: Host): DomainId {
  const taken = new Set(Array.from(guests.values(), ({ domain }) => domain.id));
  let id = DRIVER_DOMAIN + 1;
  while (taken.has(id) || machine.domain(id) !== undefined) id++;
  return id;
}

function macOf({ plan }: RunningGuest): Uint8Array {
  return macBytes(plan.mac);
}
