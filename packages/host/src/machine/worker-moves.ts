/**
 * Guests of a lab with workers that are moved: each step as that lab takes it. The guest's thread goes on; its domain
 * gets another number and another host's store, and its vif is made anew there. Called by `WorkerLab`.
 */
import type { DomainId } from '@netaccel/xen';
import type { DomainSeat } from '@netaccel/xen/sim/workers';
import { macBytes } from '../demo/addresses.js';
import { accelPort } from './accel-port.js';
import { MigrationError, migrateGuest } from './migration.js';
import type { MigrationGuest, MigrationHost, MigrationReport } from './migration.js';
import { checkRoom } from './room.js';
import { createVif, forgetDomain, introduceDomain, removeVif } from './toolstack.js';
import type { DeskCalls } from './vif-desk.js';
import type { DomainWorker } from './worker-handle.js';
import type { WorkerGuest, WorkerHost, WorkerLab } from './worker-lab.js';

/** Numbers of a driver domain, and of a guest's vif. */
const DRIVER_DOMAIN = 0;
const HANDLE = 0;

/** The desk of a driver domain in another thread. */
function deskOf(driver: DomainWorker): DeskCalls {
  const ask = (call: keyof DeskCalls, ...args: unknown[]): Promise<never> =>
    driver.ask('desk', call, ...args) as Promise<never>;
  return {
    hold: (guest, mac, leaving) => ask('hold', guest, mac, leaving),
    warn: (mac) => ask('warn', mac),
    answered: (guest, count, withinMs) => ask('answered', guest, count, withinMs),
    expect: (guest, mac) => ask('expect', guest, mac),
    announce: (guest, mac) => ask('announce', guest, mac),
    leave: (mac) => ask('leave', mac),
    open: (guest, earlier) => ask('open', guest, earlier),
    gone: (guest) => ask('gone', guest),
  };
}

/** The moves of one lab. */
export class WorkerMoves {
  private readonly moving = new Set<WorkerGuest>();

  constructor(private readonly lab: WorkerLab) {}

  /** {@inheritDoc WorkerLab.migrate} */
  async migrate(from: WorkerHost, name: string, to: WorkerHost): Promise<MigrationReport> {
    const guest = this.check(from, name, to);
    this.moving.add(guest);
    try {
      return await migrateGuest(
        this.guestOf(guest, from),
        this.hostOf(from, guest),
        this.hostOf(to, guest),
        [...this.lab.hosts.values()].map(({ driver }) => deskOf(driver)),
        performance,
      );
    } finally {
      this.moving.delete(guest);
    }
  }

  private check(from: WorkerHost, name: string, to: WorkerHost): WorkerGuest {
    const guest = from.guests.get(name);
    if (guest === undefined)
      throw new MigrationError(
        'NO_GUEST',
        `expected a guest of ${from.name}, saw ${name}, which is not there`,
      );
    if (to === from)
      throw new MigrationError(
        'SAME_HOST',
        `expected another host than ${to.name}, where ${name} is already`,
      );
    if (to.guests.has(name))
      throw new MigrationError(
        'NAME_TAKEN',
        `expected no guest ${name} on ${to.name}, saw one; give one of the two another name in the lab file`,
      );
    if (this.moving.has(guest))
      throw new MigrationError('UNDER_WAY', `${name} is being moved already; wait until that is over`);
    const { queues, vif } = guest.plan;
    const { mappings } = to.machine.description.shape;
    checkRoom(
      name,
      to.name,
      { queues, accel: vif.accel, limits: vif.limits },
      { mappings: mappings - to.machine.holdings(DRIVER_DOMAIN).mappings, pages: to.machine.freePages },
    );
    return guest;
  }

  private guestOf(guest: WorkerGuest, from: WorkerHost): MigrationGuest {
    const { worker, plan } = guest;
    let at = from;
    return {
      name: plan.name,
      mac: macBytes(plan.vif.mac),
      get id() {
        return guest.id;
      },
      get host() {
        return at.name;
      },
      suspend: async () => (await worker.ask('suspend')) as number,
      move: async (to) => {
        const next = this.lab.hosts.get(to.name)!;
        const id = lowestFree(next);
        const seat: DomainSeat = at.machine.moveDomain(guest.id, next.machine, id);
        guest.id = id;
        worker.nudge = () => {
          next.machine.nudge(id);
        };
        at.guests.delete(plan.name);
        next.guests.set(plan.name, guest);
        at = next;
        await worker.ask('rehome', seat);
        return id;
      },
      resume: async (timeoutMs) => {
        await worker.ask('resume', timeoutMs);
      },
    };
  }

  private hostOf(host: WorkerHost, { plan }: WorkerGuest): MigrationHost {
    const { store, name } = host;
    const desk = deskOf(host.driver);
    const { nic, bridged } = host.plan;
    return {
      name,
      desk,
      createVif: async (id) => {
        await introduceDomain(store, id, plan.name);
        const accel = accelPort(plan.vif.accel, nic.ports, bridged);
        await createVif(store, { ...plan.vif, accel, guest: id, backend: DRIVER_DOMAIN, handle: HANDLE });
      },
      removeVif: async (id) => {
        await removeVif(store, DRIVER_DOMAIN, id, HANDLE);
        await desk.gone(id);
        await forgetDomain(store, id);
      },
    };
  }
}

/** A guest's number: the driver domain has the first. */
function lowestFree({ guests }: WorkerHost): DomainId {
  const taken = new Set([...guests.values()].map(({ id }) => id));
  let id = DRIVER_DOMAIN + 1;
  while (taken.has(id)) id++;
  return id;
}
