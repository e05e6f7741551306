/**
 * Pages of this side that the backend is asked to keep mapped (netif.h, "Static Grants"), so that it copies frames
 * without a grant operation. Optional, and only a hint: a page that is not mapped is used by its grant.
 *
 * The rule for buffers in use: pages stay granted for the life of the connection, mapped or not, so a frame under way
 * never depends on a mapping. They are unmapped before the connection closes, and a page that the backend has not let
 * go of is kept until it has, whoever holds its frames. Used by `Connection`, outside of the frame path.
 */
import type { SharedPages } from '@netaccel/core-hooks';
import type { Domain, DomainId } from '@netaccel/xen';
import { PAGE_BYTES } from '@netaccel/core-hooks';
import { ControlStatus, ControlType, GrefFlag, grefEntry } from '@netaccel/xen/netif';
import { ControlError } from './control.js';
import type { ControlRing } from './control.js';
import { within } from './deadline.js';

const { ref: REF, flags: FLAGS, status: STATUS } = grefEntry.fields;
/** Entries of a list: it lies in one page. */
const MOST_ENTRIES = PAGE_BYTES / grefEntry.size;

/** Pages of one queue, by their references, those first that are used most. */
export interface QueueGrants {
  /** Received frames are written there. */
  readonly writable: ArrayLike<number>;
  /** Sent frames are read there. */
  readonly readable: ArrayLike<number>;
}

interface Entry {
  readonly ref: number;
  readonly flags: number;
}

/** What one connection asked for. */
export class StaticGrants {
  /** What became of it, for people. */
  state = 'not asked';
  /** By queue: references that the backend has mapped. */
  private readonly kept: number[][] = [];
  private readonly list: SharedPages;
  /** The control ring takes one request at a time. */
  private asking: Promise<void> = Promise.resolve();

  /** @throws MachineError when there is no page for the list. */
  constructor(
    private readonly domain: Domain,
    backend: DomainId,
    private readonly control: ControlRing,
  ) {
    this.list = domain.grants.share(backend, 1, 'write');
  }

  /** How many pages the backend has mapped, over all queues. */
  get count(): number {
    return this.kept.reduce((sum, { length }) => sum + length, 0);
  }

  /** Asks for as many pages of each queue as the backend takes; resolves when it is done, or `state` says why not. */
  keep(queues: readonly QueueGrants[]): Promise<void> {
    this.state = 'asked';
    return this.inTurn(async () => {
      for (const [queue, grants] of queues.entries()) {
        const most = await this.control.ask('static grants', ControlType.getGrefMappingSize, queue);
        const entries = alternate(grants).slice(0, most);
        const kept: number[] = (this.kept[queue] = []);
        for (let at = 0; at < entries.length; at += MOST_ENTRIES) {
          const part = entries.slice(at, at + MOST_ENTRIES);
          this.write(part);
          await this.control.ask(
            'static grants',
            ControlType.addGrefMapping,
            queue,
            this.list.refs[0],
            part.length,
          );
          kept.push(...part.map(({ ref }) => ref));
        }
      }
      this.state = `${this.count} pages stay mapped`;
    });
  }

  /** Asks the backend to let go of all; resolves when it has answered, the connection ended, or `ms` are over. */
  async drop(ms: number): Promise<void> {
    if (this.count > 0) await within(this.domain.loop, ms, () => this.inTurn(() => this.unmapAll()));
  }

  private async unmapAll(): Promise<void> {
    for (const [queue, refs] of this.kept.entries())
      while (refs.length > 0) {
        const part = refs.splice(0, MOST_ENTRIES).map((ref): Entry => ({ ref, flags: 0 }));
        this.write(part);
        const { delGrefMapping } = ControlType;
        await this.control.ask('static grants', delGrefMapping, queue, this.list.refs[0], part.length);
        const left = part.filter((_, i) => this.statusOf(i) !== ControlStatus.success).length;
        if (left > 0) throw new ControlError(`the backend did not let go of ${left} pages`);
      }
    this.state = 'let go';
  }

  /** The list's page goes. Idempotent. */
  close(): void {
    this.list.release();
  }

  private inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.asking.then(work).catch((error: unknown) => {
      if (!(error instanceof ControlError)) throw error;
      this.state = error.message;
    });
    return (this.asking = done);
  }

  private write(entries: readonly Entry[]): void {
    const { words, halves } = this.domain.memory;
    entries.forEach(({ ref, flags }, i) => {
      const at = this.list.address + i * grefEntry.size;
      words[(at + REF.offset) >>> 2] = ref;
      halves[(at + FLAGS.offset) >>> 1] = flags;
      halves[(at + STATUS.offset) >>> 1] = ControlStatus.notSupported;
    });
  }

  private statusOf(entry: number): number {
    return this.domain.memory.halves[(this.list.address + entry * grefEntry.size + STATUS.offset) >>> 1]!;
  }
}

/** Both kinds in turn: what the backend takes fewer of than there are serves both directions. */
function alternate({ writable, readable }: QueueGrants): Entry[] {
  const entries: Entry[] = [];
  for (let i = 0; i < Math.max(writable.length, readable.length); i++) {
    if (i < writable.length) entries.push({ ref: writable[i]!, flags: 0 });
    if (i < readable.length) entries.push({ ref: readable[i]!, flags: GrefFlag.readOnly });
  }
  return entries;
}
