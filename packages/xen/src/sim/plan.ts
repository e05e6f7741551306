/**
 * Where everything lies in a lab's memory: a header, one byte per page that says who owns it, a fixed area per
 * domain (record, ports, grant table, mappings), then the pages that domains allocate.
 *
 * Addresses follow from the shape alone, so a thread that is sent the memory and the shape finds everything.
 * All that the machine must undo when a domain dies is in here and not in that domain's objects, and each step
 * is one atomic word, in an order that can be undone from where it stopped: a worker may be ended by force at
 * any instruction, so there is no lock that it could take with it.
 */
import { PAGE_BYTES } from '@netaccel/core-hooks';
import type { Address } from '@netaccel/core-hooks';
import { layout } from '../layout.js';

/** Sizes of a lab; plain data. */
export interface LabShape {
  /** Pages of the whole memory. */
  readonly pages: number;
  /** Most domains at once, over all hosts; at most 254. */
  readonly domains: number;
  /** Pages of each domain's grant table: 512 entries each. */
  readonly grantPages: number;
  /**
   * Event channel ports of each domain; a multiple of 32, at most 131072. A domain with 2-level event channels uses
   * the first 4096 of them.
   */
  readonly ports: number;
  /** Foreign pages that a domain can have mapped at once. */
  readonly mappings: number;
}

/** What a lab gets when nothing is said: 64 MiB, 16 domains, 4096 grants and ports each. */
export const defaultShape: LabShape = {
  pages: 16384,
  domains: 16,
  grantPages: 8,
  ports: 4096,
  mappings: 4096,
};

const source = 'this file';

/** The first page. */
export const labHeader = layout('lab header', 64, source, {
  stop: [0, 4, 'u', 'not 0: every domain loop ends'],
  cursor: [4, 4, 'u', 'a hint: page at which the next search for free pages begins'],
});

/** The first page of a domain's area. Words that others write are apart from those that it writes itself. */
export const domainRecord = layout('domain record', PAGE_BYTES, source, {
  state: [0, 4, 'u', 'DomainState'],
  host: [4, 4, 'u', 'number of its host'],
  domid: [8, 4, 'u', 'its number on that host'],
  generation: [12, 4, 'u', 'how many domains had this slot before'],
  epoch: [64, 4, 'u', 'odd while it carries out a batch of grant copies'],
  asleep: [128, 4, 'u', '1: whoever has work for it must wake it; also the word it waits on'],
  waker: [132, 4, 'u', '0: wake by Atomics.notify; else handle for the host (an eventfd)'],
  mail: [136, 4, 'u', 'control messages sent to it, counting'],
  stop: [140, 4, 'u', 'not 0: its loop ends'],
  control: [144, 4, 'u', 'FIFO: where its control block is; 0: its event channels are 2-level'],
  arrayPages: [148, 4, 'u', 'FIFO: pages of event words that it gave'],
  selector: [192, 16, 'b', '2-level: bit n: word n of pending may have an unmasked bit'],
  tickets: [256, 4, 'u', 'FIFO: events posted by other threads, counting'],
  admitted: [320, 4, 'u', 'FIFO: of these, how many are in its queues'],
  tails: [384, 64, 'b', 'FIFO: the last port of each queue; 0: none'],
  pending: [512, 512, 'b', '2-level: a bit per port'],
  mask: [1024, 512, 'b', '2-level: a bit per port'],
  array: [1536, 512, 'b', 'FIFO: page numbers of its event words'],
  posts: [
    2048,
    2048,
    'b',
    'FIFO: by ticket, the port that was posted; its upper bits are the lowest of the ticket',
  ],
});

/**
 * An entry of the port table: one word, so that it changes in one step. Its lowest two bits are a PortState;
 * the rest depends on that.
 */
export const portEntry = layout('port', 4, source, {
  word: [0, 4, 'u', 'state; unbound: who may bind it; interdomain: slot and port of the other end'],
});
/** Of a port's word. */
export const PORT_STATE = 3;
/** Of an unbound port's word: from here upwards the domain that may bind it. */
export const PORT_DOMID_SHIFT = 2;
/** Of an interdomain port's word: from here upwards 8 bits of the other end's slot. */
export const PORT_SLOT_SHIFT = 2;
/** Of an interdomain port's word: from here upwards the other end's port. */
export const PORT_REMOTE_SHIFT = 10;

/** Ports of a domain with 2-level event channels, of 64 bits (event_channel.h `EVTCHN_2L_NR_CHANNELS`). */
export const TWO_LEVEL_PORTS = 4096;
/** Ports of a domain with FIFO event channels (`EVTCHN_FIFO_NR_CHANNELS`): what a link of an event word can name. */
export const FIFO_PORTS = 1 << 17;

/** A version 1 grant (xen.h: `grant_entry_v1`). */
export const grantEntry = layout('grant_entry_v1', 8, 'xen/include/public/grant_table.h', {
  flags: [0, 2, 'u', 'GrantFlag'],
  domid: [2, 2, 'u', 'who may use it'],
  frame: [4, 4, 'u', 'page number'],
});

/** Flags of a grant (grant_table.h `GTF_*`). */
export const GrantFlag = {
  /** Type: another domain may use the page. */
  permitAccess: 1,
  /** The bits that are the type. */
  typeMask: 3,
  /** It may not write. */
  readonly: 4,
  /** It has the page mapped. */
  reading: 8,
  /** It has the page mapped for writing. */
  writing: 16,
  /** Only part of the page: means something in version 2 tables, and is refused in these. */
  subPage: 256,
} as const;
/** Entries at the start of a table that are for the toolstack (`GNTTAB_NR_RESERVED_ENTRIES`). */
export const RESERVED_GRANTS = 8;

/** States of a domain's slot. */
export const DomainState = {
  /** Nobody's. */
  free: 0,
  /** A domain's. */
  alive: 1,
  /** A dead domain's, of whose pages others still use some. */
  dying: 2,
} as const;
/** States of a port (event_channel.h `EVTCHNSTAT_*`). */
export const PortState = {
  /** Not in use. */
  closed: 0,
  /** A certain domain may bind it. */
  unbound: 1,
  /** It has another end. */
  interdomain: 2,
} as const;
/** Owner byte of the machine's own pages; 0 is nobody, else slot + 1. */
export const OWNER_MACHINE = 255;

const pagesFor = (bytes: number): number => Math.ceil(bytes / PAGE_BYTES);

/** Addresses that follow from a shape. */
export class Plan {
  /** Grant entries of each domain. */
  readonly grants: number;
  /** The owner byte of page 0. */
  readonly owners: Address = PAGE_BYTES;
  /** First page that a domain can have. */
  readonly firstFree: number;
  private readonly areas: Address;
  private readonly areaBytes: number;
  private readonly portsAt: number;
  private readonly prioritiesAt: number;
  private readonly postedAt: number;
  private readonly grantsAt: number;
  private readonly mappingsAt: number;

  /** @throws RangeError when the shape makes no sense. */
  constructor(
    /** The shape. */
    readonly shape: LabShape,
  ) {
    const { pages, domains, grantPages, ports, mappings } = shape;
    this.grants = (grantPages * PAGE_BYTES) / grantEntry.size;
    if (domains < 1 || domains >= OWNER_MACHINE)
      throw new RangeError(`domains: 1 to ${OWNER_MACHINE - 1} expected, ${domains} seen`);
    if (ports < 32 || ports > FIFO_PORTS || ports % 32 !== 0)
      throw new RangeError(`ports: a multiple of 32 up to ${FIFO_PORTS} expected, ${ports} seen`);
    if (grantPages < 1 || grantPages > 1024)
      throw new RangeError(`grantPages: 1 to 1024 expected, ${grantPages} seen`);
    this.portsAt = PAGE_BYTES;
    this.prioritiesAt = this.portsAt + ports * portEntry.size;
    this.postedAt = this.prioritiesAt + ports;
    this.grantsAt = this.portsAt + pagesFor(ports * portEntry.size + ports + ports / 8) * PAGE_BYTES;
    this.mappingsAt = this.grantsAt + grantPages * PAGE_BYTES;
    this.areaBytes = this.mappingsAt + pagesFor(mappings * 8) * PAGE_BYTES;
    this.areas = this.owners + pagesFor(pages) * PAGE_BYTES;
    this.firstFree = this.areas / PAGE_BYTES + (domains * this.areaBytes) / PAGE_BYTES;
    if (this.firstFree >= pages || pages > 0x100000)
      throw new RangeError(
        `pages: ${pages} seen; the tables of ${domains} domains take ${this.firstFree}; at most 1048576`,
      );
  }

  /** The record of the domain in `slot`. */
  record(slot: number): Address {
    return this.areas + slot * this.areaBytes;
  }
  /** Its port table. */
  ports(slot: number): Address {
    return this.record(slot) + this.portsAt;
  }
  /** FIFO: a byte for each of its ports: its priority, and in the upper half that of the queue it was in last. */
  priorities(slot: number): Address {
    return this.record(slot) + this.prioritiesAt;
  }
  /** FIFO: a bit for each of its ports: an event was posted that is not in a queue yet. */
  posted(slot: number): Address {
    return this.record(slot) + this.postedAt;
  }
  /** Its grant table. */
  grantTable(slot: number): Address {
    return this.record(slot) + this.grantsAt;
  }
  /** What it has mapped, 8 bytes each: a word of `MAPPED_` parts (0: nothing) and the page. */
  mappings(slot: number): Address {
    return this.record(slot) + this.mappingsAt;
  }
}

/** Of a mapping's first word: slot + 1 of whose page it is. */
export const MAPPED_SLOT = 0xff;
/** Of a mapping's first word: it was made for writing. */
export const MAPPED_WRITABLE = 0x100;
/** Of a mapping's first word: from here upwards the grant reference. */
export const MAPPED_REF_SHIFT = 9;
