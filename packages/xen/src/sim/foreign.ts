/**
 * What a domain uses of others: maps, grant copies, registers. Nothing here throws for what a peer did; a peer
 * that grants what it does not own, or revokes while we look, gets a status.
 */
import type { MappedPages, Registers } from '@netaccel/core-hooks';
import { PAGE_BYTES } from '@netaccel/core-hooks';
import { GrantStatus, statusName } from '../grant-copy.js';
import type { GrantCopyBatch } from '../grant-copy.js';
import { MachineError } from '../machine.js';
import type { DomainId, ForeignGrants, GrantRef, Port } from '../machine.js';
import type { DomainContext } from './context.js';
import { GRANT_COMPARED, grantFor } from './grant-tables.js';
import { DomainState, GrantFlag, domainRecord, grantEntry } from './plan.js';
import type { DeviceResolver } from './registers.js';
import { SimRegisters } from './registers.js';

const EPOCH = domainRecord.fields.epoch.offset >>> 2;
const ENTRY_WORDS = grantEntry.size >>> 2;
const FRAME = grantEntry.fields.frame.offset >>> 2;
const PAGE_SHIFT = 12;

/** Told of each access by grant: tests prove with it that nothing else was touched. */
export type AccessObserver = (
  domain: DomainId,
  kind: 'map' | 'unmap' | 'copy',
  foreign: number,
  local: number,
  length: number,
) => void;

/** A domain's use of others' grants. */
export class SimForeign implements ForeignGrants {
  /** Foreign pages mapped now. */
  held = 0;
  /** Told of each access, when there is one. */
  observer: AccessObserver | null = null;
  private readonly free: Uint32Array;
  private top: number;
  /** Mappings have had numbers below this. */
  private used = 0;
  private peer = -1;
  private peerSlot = -1;
  private peerGeneration = -1;

  /**
   * @param at the domain.
   * @param deviceAt who handles writes to a page of registers in this thread.
   */
  constructor(
    private readonly at: DomainContext,
    private readonly deviceAt: DeviceResolver,
  ) {
    const { mappings } = at.lab.plan.shape;
    this.free = new Uint32Array(mappings);
    this.top = mappings;
    for (let i = 0; i < mappings; i++) this.free[i] = mappings - 1 - i;
  }

  /** Maps granted pages: all or none. They lie where the granter has them; `access` is checked against the grant. */
  map(peer: DomainId, refs: ArrayLike<number>, access: 'read' | 'write'): MappedPages {
    const { lab, host, slot, id } = this.at;
    if (refs.length > this.top)
      throw new MachineError(
        'NO_GRANTS',
        `domain ${id} asked to map ${refs.length} pages, ${this.top} mappings are free; ` +
          `unmap some, or make the lab with a larger shape.mappings`,
      );
    const handles: number[] = [];
    const addresses = new Uint32Array(refs.length);
    const peerSlot = lab.find(host, peer);
    for (let i = 0; i < refs.length; i++) {
      const ref = refs[i]!;
      const handle = this.free[this.top - 1]!;
      const status =
        this.at.faults.grant?.('map', id, peer, ref) ??
        lab.grants.map(peerSlot, ref, id, slot, handle, access === 'write');
      if (status !== GrantStatus.okay) {
        this.unmap(handles);
        throw new MachineError(
          'BAD_GRANT',
          `reference ${ref} of domain ${peer} cannot be mapped for ${access} by domain ${id}: ` +
            `status ${status} (${statusName(status)})`,
        );
      }
      this.top--;
      this.used = Math.max(this.used, handle + 1);
      handles.push(handle);
      this.held++;
      addresses[i] = lab.grants.addressOf(slot, handle);
      this.observer?.(id, 'map', addresses[i]!, 0, PAGE_BYTES);
    }
    return new SimMappedPages(this, handles, addresses);
  }

  /** Ends mappings. */
  unmap(handles: readonly number[]): void {
    const { lab, slot, id } = this.at;
    for (const handle of handles) {
      this.observer?.(id, 'unmap', lab.grants.addressOf(slot, handle), 0, PAGE_BYTES);
      lab.grants.unmap(slot, handle, this.used);
      this.free[this.top++] = handle;
      this.held--;
    }
    // With threads the main one does it: it alone makes and destroys domains.
    if (!lab.concurrent) lab.reap();
  }

  /** Maps a page of registers: a write calls the device if it is in this thread, else it rings `doorbell`. */
  mapRegisters(peer: DomainId, ref: GrantRef, doorbell: Port): Registers {
    const { lab, slot, host } = this.at;
    const pages = this.map(peer, [ref], 'write');
    const page = pages.addresses[0]!;
    const local = lab.ports.boundTo(slot, lab.find(host, peer), doorbell);
    const device = this.deviceAt(page) ?? (() => lab.ports.notify(slot, local));
    return new SimRegisters(lab.memory, pages, page, device);
  }

  /** Carries out a batch of copies; each one's status goes into the batch. */
  copy(peer: DomainId, batch: GrantCopyBatch): void {
    const { lab, slot } = this.at;
    if (!lab.concurrent) {
      this.copyAll(peer, batch);
      return;
    }
    // Odd before any entry is looked at, and the load after it keeps the loop's plain loads behind it (sequential
    // consistency orders it after the add, acquire orders them after it): grant-tables.ts says what for.
    const { words } = lab.memory;
    const epoch = (lab.plan.record(slot) >>> 2) + EPOCH;
    Atomics.add(words, epoch, 1);
    try {
      Atomics.load(words, epoch);
      this.copyAll(peer, batch);
    } finally {
      Atomics.add(words, epoch, 1);
    }
  }

  private copyAll(peer: DomainId, batch: GrantCopyBatch): void {
    const { count, status, refs, offsets, addresses, lengths, intoGrant } = batch;
    const { lab } = this.at;
    const { memory, plan } = lab;
    const { words, bytes } = memory;
    const peerSlot = this.slotOf(peer);
    const table = peerSlot < 0 ? 0 : plan.grantTable(peerSlot) >>> 2;
    const { grants, owners } = plan;
    const { pages } = plan.shape;
    const wanted = grantFor(this.at.id);
    const { faults } = this.at;
    const { observer } = this;
    for (let op = 0; op < count; op++) {
      const length = lengths[op]!;
      // A copy of nothing succeeds and looks at no other field (XSA-448's companion).
      if (length === 0) {
        status[op] = GrantStatus.okay;
        continue;
      }
      const ref = refs[op]!;
      if (peerSlot < 0) {
        status[op] = GrantStatus.badDomain;
        continue;
      }
      if (ref >= grants) {
        status[op] = GrantStatus.badGrantRef;
        continue;
      }
      const failed = faults.grant?.('copy', this.at.id, peer, ref);
      if (failed !== undefined) {
        status[op] = failed;
        continue;
      }
      const into = intoGrant[op]!;
      const entry = table + ref * ENTRY_WORDS;
      if ((words[entry]! & (GRANT_COMPARED | (into * GrantFlag.readonly))) !== wanted) {
        status[op] = GrantStatus.generalError;
        continue;
      }
      const page = words[entry + FRAME]!;
      if (page >= pages || bytes[owners + page] !== peerSlot + 1) {
        status[op] = GrantStatus.badPage;
        continue;
      }
      const offset = offsets[op]!;
      if (length > PAGE_BYTES || offset > PAGE_BYTES - length) {
        status[op] = GrantStatus.badCopyArgument;
        continue;
      }
      const foreign = (page << PAGE_SHIFT) + offset;
      const local = addresses[op]!;
      if (into === 0) memory.copy(local, foreign, length);
      else memory.copy(foreign, local, length);
      status[op] = GrantStatus.okay;
      if (observer !== null) observer(this.at.id, 'copy', foreign >>> 0, local, length);
    }
  }

  /** The domain moved: a number means another domain now. */
  forgetPeer(): void {
    this.peer = -1;
  }

  /** The peer's slot, remembered from the last call while the same domain is in it. */
  private slotOf(peer: DomainId): number {
    const { lab, host } = this.at;
    if (
      this.peer !== peer ||
      lab.state(this.peerSlot) !== DomainState.alive ||
      lab.generation(this.peerSlot) !== this.peerGeneration
    ) {
      this.peerSlot = lab.find(host, peer);
      this.peer = this.peerSlot < 0 ? -1 : peer;
      if (this.peerSlot >= 0) this.peerGeneration = lab.generation(this.peerSlot);
    }
    return this.peerSlot;
  }
}

class SimMappedPages implements MappedPages {
  private mapped = true;

  constructor(
    private readonly foreign: SimForeign,
    private readonly handles: readonly number[],
    readonly addresses: Uint32Array,
  ) {}

  unmap(): void {
    if (!this.mapped) return;
    this.mapped = false;
    this.foreign.unmap(this.handles);
  }
}
