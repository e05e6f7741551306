/**
 * Domains of a one-thread lab that die, whatever they are doing, and boot again: what a machine does then, and what a
 * toolstack does. Called through `OneThreadLab.crashes`; the promises are kept while somebody steps the lab.
 */
import { kernelOf } from './kernel.js';
import type { Host, OneThreadLab, RunningGuest } from './one-thread-lab.js';
import { backendPath, closeVif, frontendPath } from './toolstack.js';

/** Numbers of a driver domain, and of a guest's vif. */
const DRIVER_DOMAIN = 0;
const HANDLE = 0;

/** The crashes of one lab. */
export class OneThreadCrashes {
  constructor(private readonly lab: OneThreadLab) {}

  /** A guest dies. Its vif stays in the store, as after a real crash, until it boots again. */
  killGuest(name: string): void {
    const { host, guest } = this.existing(name);
    host.machine.destroyDomain(guest.domain.id, 'forget');
  }

  /**
   * The toolstack takes away what is left of a dead guest's vif, and the guest boots again; resolves when its vif is
   * connected. The stack's sink stays the same. A boot that did not end is given up first.
   */
  async bootGuest(name: string): Promise<RunningGuest> {
    const { host, guest } = this.existing(name);
    const { id } = guest.domain;
    if (host.machine.domain(id) !== undefined) host.machine.destroyDomain(id, 'forget');
    const { store } = host.machine.domain(DRIVER_DOMAIN)!;
    const back = backendPath(DRIVER_DOMAIN, id, HANDLE);
    if (await store.exists(back)) await closeVif(store, DRIVER_DOMAIN, id, HANDLE);
    for (const path of [back, frontendPath(id, HANDLE)])
      if (await store.exists(path)) await store.remove(path);
    const booted = await this.lab.startGuest(host, guest.plan, id, guest.stack);
    host.guests.set(name, booted);
    return booted;
  }

  /**
   * A driver domain dies. The machine resets its NIC before its pages are anybody else's, as a hypervisor does with a
   * device whose domain is gone.
   */
  killDriver(name: string): void {
    this.lab.hardware.nicOf(name)!.reset();
    this.lab.host(name).machine.destroyDomain(DRIVER_DOMAIN, 'forget');
  }

  /** A dead driver domain boots again, without plugins; resolves when it serves. Guests reconnect by themselves. */
  async bootDriver(name: string): Promise<void> {
    const host = this.lab.host(name);
    if (host.machine.domain(DRIVER_DOMAIN) !== undefined) this.killDriver(name);
    host.machine.createDomain(DRIVER_DOMAIN, `driver domain ${name}`, kernelOf(host.plan));
    host.driver = this.lab.makeDriver(host.plan, host.machine);
    await host.driver.start();
  }

  private existing(name: string): { host: Host; guest: RunningGuest } {
    for (const host of this.lab.hosts.values()) {
      const guest = host.guests.get(name);
      if (guest !== undefined) return { host, guest };
    }
    throw new RangeError(`expected a guest of the lab, saw ${name}`);
  }
}
