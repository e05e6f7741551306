/**
 * The VI that one guest has: made of the guest's pages, which are mapped for the device only, and of a register page
 * of this domain that the guest gets. Everything acquired for it is here, and so is the order of giving it back.
 */
import type {
  BackendServices,
  CreditHandler,
  EventEnd,
  MappedPages,
  SharedPages,
} from '@netaccel/core-hooks';
import { Owner } from './control.js';
import type { NicControl, ViId } from './control.js';
import type { RingsMessage } from './messages.js';

/** Times that a VI is asked to finish before it is ended as it is. */
const FLUSH_TRIES = 20;
const FLUSH_PAUSE_MS = 5;

/** How the guest reaches it: part of a handover. */
export interface ViAccess {
  /** Grant reference of the register page. */
  readonly registerRef: number;
  /** Event channel port that notices register writes. */
  readonly doorbellPort: number;
  /** Event channel port that interrupts arrive on. */
  readonly interruptPort: number;
}

/** One guest's VI. */
export class GuestVi {
  /** Its number; null before {@link open} and after {@link close}. */
  id: ViId | null = null;
  /** The generation of the NIC that it belongs to: in another one its number may be somebody else's. */
  generation = 0;
  private readonly maps: MappedPages[] = [];
  private readonly ends: EventEnd[] = [];
  private endCredit: () => void = () => undefined;
  private registers: SharedPages | null = null;

  /**
   * @param services what netback handed over.
   * @param nic the port's NIC.
   */
  constructor(
    private readonly services: BackendServices,
    readonly nic: NicControl,
  ) {}

  /** The VI's number while the NIC knows it; null when there is none, or the NIC was reset since. */
  get current(): ViId | null {
    return this.nic.generation === this.generation ? this.id : null;
  }

  /**
   * Makes it. The NIC holds what it sends to the vif's addresses.
   * @param rings what the guest asks for.
   * @param filters receive filters that it may have at most.
   * @param pages buffer pages that it may know at most.
   * @param credit takes the fast path's share of the vif's rate limit, from the beginning to the end.
   * @throws when a page is not granted or the NIC refuses; nothing is held then.
   */
  open(rings: RingsMessage, filters: number, pages: number, credit?: CreditHandler): ViAccess {
    const { services, nic, maps, ends } = this;
    try {
      const addresses = (refs: Uint32Array): Uint32Array => {
        maps.push(services.map(refs, 'write'));
        return maps.at(-1)!.addresses;
      };
      const transmitPages = addresses(rings.transmitRefs);
      const receivePages = addresses(rings.receiveRefs);
      const eventPages = addresses(rings.eventRefs);
      const registers = (this.registers = services.share(1, 'write'));
      const interrupt = services.events.open(() => interrupt.unmask());
      ends.push(interrupt);
      // Rung by machines on which the guest's write to the register page does not reach the device by itself.
      const doorbell = services.events.open(() => {
        doorbell.unmask();
        if (this.current !== null) nic.serviceVi(this.current);
      });
      ends.push(doorbell);
      this.generation = nic.generation;
      this.id = nic.allocateVi({
        owner: Owner.firstGuest + services.vif.guest,
        transmitPages,
        transmitCapacity: rings.transmitCapacity,
        receivePages,
        receiveCapacity: rings.receiveCapacity,
        eventPages,
        eventCapacity: rings.eventCapacity,
        registerPage: registers.address,
        vector: services.events.vector(interrupt),
        antiSpoof: services.vif,
        filterQuota: filters,
        bufferQuota: pages,
      });
      if (credit !== undefined) this.endCredit = services.onCredit(credit);
      return { registerRef: registers.refs[0]!, doorbellPort: doorbell.port, interruptPort: interrupt.port };
    } catch (error) {
      this.giveBack();
      throw error;
    }
  }

  /**
   * Has the device know pages of the guest.
   * @returns the bus address of the first.
   * @throws when one is not granted or the NIC refuses; nothing of this chunk is held then.
   */
  register(refs: Uint32Array, writable: boolean): number {
    const vi = this.current;
    if (vi === null) throw new Error('the VI is gone: the NIC was reset');
    const mapped = this.services.map(refs, writable ? 'write' : 'read');
    try {
      const bus = this.nic.registerBuffers(vi, mapped.addresses);
      this.maps.push(mapped);
      return bus;
    } catch (error) {
      mapped.unmap();
      throw error;
    }
  }

  /** Lets it finish what it has, for a limited time; ends it; then gives back what it used. Its filters are gone before. */
  async close(): Promise<void> {
    const { nic } = this;
    for (let tries = 0; tries < FLUSH_TRIES; tries++) {
      if (this.current === null || nic.flushVi(this.current)) break;
      await new Promise<void>((resolve) => void this.services.clock.after(FLUSH_PAUSE_MS, resolve));
    }
    // The device forgets rings and buffers with the VI: no DMA after this, so the pages can go.
    if (this.current !== null) nic.freeVi(this.current);
    this.id = null;
    this.giveBack();
  }

  private giveBack(): void {
    this.endCredit();
    for (const mapped of this.maps.splice(0)) mapped.unmap();
    this.registers?.release(); // the guest may still have it mapped: the host keeps it then
    this.registers = null;
    for (const end of this.ends.splice(0)) end.close();
  }
}
