/**
 * The control ring: a guest's requests about hashing and about pages that stay mapped, answered one for one and in
 * order (netif.h, "control ring", "static grants").
 *
 * Optional: a guest that wrote `ctrl-ring-ref` has one. Runs in a task of its own, a few requests at a time, so a
 * guest that floods it slows down nothing but itself. Made and closed by `Connection`.
 */
import { PAGE_BYTES } from '@netaccel/core-hooks';
import type { Address } from '@netaccel/core-hooks';
import { GrantCopyBatch } from '@netaccel/xen';
import type { BackRing, Domain, DomainId, EventChannel, Port, Task } from '@netaccel/xen';
import {
  ControlStatus,
  ControlType,
  GrefFlag,
  controlRequest,
  controlResponse,
  grefEntry,
} from '@netaccel/xen/netif';
import { MOST_MAPPING_ENTRIES } from './hash.js';
import type { HashSettings } from './hash.js';
import type { StaticGrant, StaticGrants } from './static-grants.js';

const ID = controlRequest.fields.id.offset >>> 1;
const TYPE = controlRequest.fields.type.offset >>> 1;
const DATA = controlRequest.fields.data0.offset >>> 2;
const RESPONSE_ID = controlResponse.fields.id.offset >>> 1;
const RESPONSE_TYPE = controlResponse.fields.type.offset >>> 1;
const RESPONSE_STATUS = controlResponse.fields.status.offset >>> 2;
const RESPONSE_DATA = controlResponse.fields.data.offset >>> 2;
const WORD_BYTES = 4;
const GREF = grefEntry.fields.ref.offset;
const GREF_FLAGS = grefEntry.fields.flags.offset;
const GREF_STATUS = grefEntry.fields.status.offset;
/** Entries of a list of grants: it lies in one page. */
const MOST_LIST_ENTRIES = PAGE_BYTES / grefEntry.size;
/** Requests of one run; one that maps or unmaps takes the whole run. */
const BUDGET = 8;

/** What a control ring is made with. */
export interface ControlParts {
  readonly domain: Domain;
  readonly guest: DomainId;
  readonly ring: BackRing;
  readonly port: Port;
  readonly hash: HashSettings;
  /** The static grants of a queue, if there is one of that number. */
  grants(queue: number): StaticGrants | undefined;
  /** A page for what is copied from the guest. */
  readonly scratch: Address;
  /** The guest broke the ring's rules. */
  breach(what: string): void;
}

/** Answers the control requests of one connection. */
export class ControlRing {
  private readonly task: Task;
  private readonly channel: EventChannel;
  private readonly batch = new GrantCopyBatch(1);
  private fenced = false;
  private rang = false;
  private worked = false;
  /** What is left of a run. */
  private left = 0;
  /** What the answer says besides its status. */
  private data = 0;

  /** @throws MachineError when the port cannot be bound; nothing is held then. */
  constructor(private readonly parts: ControlParts) {
    const { domain, guest, port } = parts;
    this.task = domain.loop.task((budget) => this.run(Math.min(budget, BUDGET)));
    try {
      this.channel = domain.events.bindInterdomain(guest, port, () => {
        this.rang = true;
        this.task.raise();
      });
    } catch (error) {
      this.task.cancel();
      throw error;
    }
    this.task.raise();
  }

  /** The ring is not read any more. */
  fence(): void {
    this.fenced = true;
  }

  /** Ends the task and the channel. */
  close(): void {
    this.fenced = true;
    this.task.cancel();
    this.channel.close();
  }

  private run(budget: number): boolean {
    if (this.fenced) return false;
    const { ring } = this.parts;
    let waiting = ring.available();
    for (this.left = budget; this.left > 0 && waiting > 0; this.left--, waiting--) this.answerNext();
    if (ring.produced !== ring.consumed) {
      ring.produced = ring.consumed;
      this.worked = true;
      if (ring.publish()) this.channel.notify();
    }
    if (waiting === 0) waiting = ring.arm();
    if (waiting < 0) this.parts.breach('control request index');
    if (waiting !== 0) return waiting > 0;
    if (this.rang) this.channel.unmask(!this.worked);
    this.rang = false;
    this.worked = false;
    return false;
  }

  /** Reads one request once, acts on the copy, and writes the answer into the same slot. */
  private answerNext(): void {
    const { ring, domain } = this.parts;
    const { halves, words } = domain.memory;
    const at = ring.slot(ring.consumed);
    const id = halves[(at >>> 1) + ID]!;
    const type = halves[(at >>> 1) + TYPE]!;
    const first = words[(at >>> 2) + DATA]!;
    const second = words[(at >>> 2) + DATA + 1]!;
    const third = words[(at >>> 2) + DATA + 2]!;
    this.data = 0;
    const status = this.act(type, first, second, third);
    halves[(at >>> 1) + RESPONSE_ID] = id;
    halves[(at >>> 1) + RESPONSE_TYPE] = type;
    words[(at >>> 2) + RESPONSE_STATUS] = status;
    words[(at >>> 2) + RESPONSE_DATA] = this.data;
    ring.consumed = (ring.consumed + 1) >>> 0;
  }

  private act(type: number, first: number, second: number, third: number): ControlStatus {
    const { hash } = this.parts;
    switch (type) {
      case ControlType.setHashAlgorithm:
        return hash.setAlgorithm(first);
      case ControlType.getHashFlags: {
        const flags = hash.supportedFlags();
        this.data = flags ?? 0;
        return flags === null ? ControlStatus.notSupported : ControlStatus.success;
      }
      case ControlType.setHashFlags:
        return hash.setFlags(first);
      case ControlType.setHashKey:
        return this.setKey(first, second);
      case ControlType.getHashMappingSize:
        this.data = MOST_MAPPING_ENTRIES;
        return ControlStatus.success;
      case ControlType.setHashMappingSize:
        return hash.setMappingSize(first);
      case ControlType.setHashMapping:
        return this.setMapping(first, second, third);
      case ControlType.getGrefMappingSize:
        this.data = this.parts.grants(first)?.most ?? 0;
        return this.data > 0 ? ControlStatus.success : ControlStatus.invalidParameter;
      case ControlType.addGrefMapping:
        return this.addGrants(first, second, third);
      case ControlType.delGrefMapping:
        return this.removeGrants(first, second, third);
      default:
        return ControlStatus.notSupported;
    }
  }

  private setKey(ref: number, length: number): ControlStatus {
    const { hash } = this.parts;
    const judged = hash.judgeKey(length);
    if (judged !== ControlStatus.success) return judged;
    const key = this.fetch(ref, length);
    if (key === null) return ControlStatus.invalidParameter;
    hash.setKey(key);
    return ControlStatus.success;
  }

  private setMapping(ref: number, entries: number, offset: number): ControlStatus {
    const { hash } = this.parts;
    const judged = hash.judgeMapping(offset, entries);
    if (judged !== ControlStatus.success) return judged;
    const bytes = this.fetch(ref, entries * WORD_BYTES);
    if (bytes === null) return ControlStatus.invalidParameter;
    return hash.setMapping(offset, new Uint32Array(bytes.buffer));
  }

  /** ADD_GREF_MAPPING: all of the list or none. */
  private addGrants(queue: number, ref: number, entries: number): ControlStatus {
    const list = this.fetchGrants(queue, ref, entries);
    if (list === null || list.some(({ flags }) => (flags & ~GrefFlag.readOnly) !== 0))
      return ControlStatus.invalidParameter;
    const added = this.parts.grants(queue)!.add(list);
    return added ? ControlStatus.success : ControlStatus.invalidParameter;
  }

  /** DEL_GREF_MAPPING: each entry by itself, with its status; the answer says how many. */
  private removeGrants(queue: number, ref: number, entries: number): ControlStatus {
    const list = this.fetchGrants(queue, ref, entries);
    if (list === null) return ControlStatus.invalidParameter;
    if (list.length === 0) return ControlStatus.success;
    const { domain, guest, scratch } = this.parts;
    const grants = this.parts.grants(queue)!;
    const statuses = domain.memory.halves;
    // The list is still in the page that it was fetched to: only its statuses change.
    list.forEach((entry, i) => {
      const removed = grants.remove(entry.ref);
      if (removed) this.data++;
      statuses[(scratch + i * grefEntry.size + GREF_STATUS) >>> 1] = removed
        ? ControlStatus.success
        : ControlStatus.invalidParameter;
    });
    this.batch.clear();
    this.batch.toGrant(ref, 0, scratch, entries * grefEntry.size);
    domain.foreign.copy(guest, this.batch);
    return this.batch.status[0] === 0 ? ControlStatus.success : ControlStatus.invalidParameter;
  }

  /** A private copy of a list of grants; null when there is no such queue, or no such list. */
  private fetchGrants(
    queue: number,
    ref: number,
    entries: number,
  ): (StaticGrant & { readonly flags: number })[] | null {
    if (this.parts.grants(queue) === undefined || entries > MOST_LIST_ENTRIES) return null;
    const bytes = this.fetch(ref, entries * grefEntry.size);
    if (bytes === null) return null;
    this.left = 1;
    const view = new DataView(bytes.buffer);
    return Array.from({ length: entries }, (_, i) => {
      const at = i * grefEntry.size;
      const flags = view.getUint16(at + GREF_FLAGS, true);
      return { ref: view.getUint32(at + GREF, true), readOnly: (flags & GrefFlag.readOnly) !== 0, flags };
    });
  }

  /** A private copy of the first bytes of a granted page: at most a page, as judged before. */
  private fetch(ref: number, length: number): Uint8Array<ArrayBuffer> | null {
    const { domain, guest, scratch } = this.parts;
    const copy = new Uint8Array(length);
    if (length === 0) return copy;
    this.batch.clear();
    this.batch.fromGrant(ref, 0, scratch, Math.min(length, PAGE_BYTES));
    domain.foreign.copy(guest, this.batch);
    if (this.batch.status[0] !== 0) return null;
    copy.set(domain.memory.bytes.subarray(scratch, scratch + length));
    return copy;
  }
}
