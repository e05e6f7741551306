/**
 * What a backend is told besides frames: how to hash and which pages to keep mapped, by the control ring, and which
 * groups to let through, on a transmit ring. All of it optional. Made by `Connection`, outside of the frame path.
 */
import type { Domain, DomainId } from '@netaccel/xen';
import { ControlRing } from './control.js';
import type { Agreement } from './features.js';
import { GroupFilter } from './multicast.js';
import type { GroupParts } from './multicast.js';
import { StaticGrants } from './static-grants.js';
import type { QueueGrants } from './static-grants.js';
import type { TransmitRing } from './transmit-ring.js';

/** What the instructions are made with. */
export interface InstructionParts {
  readonly domain: Domain;
  readonly backend: DomainId;
  readonly agreement: Agreement;
  /** Where ring indices begin. */
  readonly firstIndex: number;
  /** Groups to join; null: all are wanted. */
  readonly wantedGroups: readonly Uint8Array[] | null;
  /** What became of them. */
  readonly onGroups: GroupParts;
}

/** One connection's. */
export class Instructions {
  /** By which the backend is told how to hash and what to keep mapped; null when it does not offer that, or nobody asks. */
  readonly control: ControlRing | null = null;
  /** Pages that the backend keeps mapped; null when it is not asked to. */
  readonly grants: StaticGrants | null = null;
  /** The groups that were joined; null when the backend does not let them be chosen. */
  readonly groups: GroupFilter | null = null;

  /**
   * @param parts what it is made with.
   * @param ring that group requests go out on.
   * @param releases gives back what was got, last first, whatever fails.
   * @param raise asks for a poll.
   * @param onBreach the backend broke the control ring's rules.
   * @throws MachineError when pages, grants or ports are not to be had.
   */
  constructor(
    private readonly parts: InstructionParts,
    ring: TransmitRing,
    releases: (() => void)[],
    raise: () => void,
    onBreach: (reason: string) => void,
  ) {
    const { domain, backend, agreement, firstIndex, wantedGroups, onGroups } = parts;
    if (agreement.hash !== null || agreement.staticGrants) {
      const control = new ControlRing(domain, backend, firstIndex, onBreach);
      releases.push(() => control.close());
      this.control = control;
      if (agreement.staticGrants) {
        const grants = new StaticGrants(domain, backend, control);
        releases.push(() => grants.close());
        this.grants = grants;
      }
    }
    if (agreement.multicast === 'none') return;
    this.groups = new GroupFilter(ring, raise, onGroups);
    this.groups.want(wantedGroups);
  }

  /** The backend is there: it is told, one thing after the other. */
  async start(queues: readonly QueueGrants[]): Promise<void> {
    this.groups?.start();
    const { hash } = this.parts.agreement;
    if (hash !== null) await this.control?.hash(hash, queues.length);
    await this.grants?.keep(queues);
  }

  /** For people. */
  describe(): Readonly<Record<string, unknown>> {
    return {
      hash: this.parts.agreement.hash === null ? null : (this.control?.state ?? null),
      staticGrants: this.grants?.state ?? null,
      groups: this.groups?.describe() ?? null,
    };
  }
}
