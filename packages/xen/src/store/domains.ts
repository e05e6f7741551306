/**
 * What the store knows of each domain: introduced or not, shut down, features, whom it stands in for.
 *
 * Domain 0 is always introduced. A domain that is released is forgotten altogether: its number may come back
 * as another domain, which starts from nothing.
 */
import { PRIVILEGED_DOMID } from './domid.js';

/** Server features (xs_wire.h): bits of the ring page's feature field that do not need a ring. */
export const STORE_FEATURES = {
  /** WATCH takes a depth. */
  watchDepth: 4,
  /** A permission entry may name any domain (0x7FF5). */
  domidAny: 8,
} as const;

/** All features that this server has. */
export const ALL_FEATURES = STORE_FEATURES.watchDepth | STORE_FEATURES.domidAny;

/** One domain. */
export interface DomainRecord {
  /** The store talks to it. */
  introduced: boolean;
  /** It shut down, which was told once; RESUME takes it back. */
  shutdown: boolean;
  /** Bits of {@link STORE_FEATURES}. */
  features: number;
  /** The domain whose rights it has, too. */
  target: number | undefined;
}

/** All domains that anything is known of. */
export class Domains {
  readonly #records = new Map<number, DomainRecord>();

  constructor() {
    this.record(PRIVILEGED_DOMID).introduced = true;
  }

  /** The record of a domain, to read; undefined when nothing is known of it. */
  find(domid: number): Readonly<DomainRecord> | undefined {
    return this.#records.get(domid);
  }

  /** The record of a domain, to change; made when there is none. */
  record(domid: number): DomainRecord {
    let record = this.#records.get(domid);
    if (record === undefined) {
      record = { introduced: false, shutdown: false, features: ALL_FEATURES, target: undefined };
      this.#records.set(domid, record);
    }
    return record;
  }

  /** Whether the store talks to it. */
  isIntroduced(domid: number): boolean {
    return this.#records.get(domid)?.introduced ?? false;
  }

  /** Features of a domain. */
  featuresOf(domid: number): number {
    return this.#records.get(domid)?.features ?? ALL_FEATURES;
  }

  /** Forgets a domain, also as somebody's target. */
  forget(domid: number): void {
    this.#records.delete(domid);
    for (const record of this.#records.values()) if (record.target === domid) record.target = undefined;
  }

  /** The introduced ones. */
  introduced(): number[] {
    return [...this.#records].filter(([, { introduced }]) => introduced).map(([domid]) => domid);
  }
}
