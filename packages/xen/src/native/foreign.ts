/**
 * What a domain uses of others, by /dev/xen/gntdev: maps into the arena, and batches of grant copies, each one call.
 * Nothing here throws for what a peer did but `map`, which says which reference failed.
 */
import type { Address, MappedPages, Registers } from '@netaccel/core-hooks';
import { PAGE_BYTES } from '@netaccel/core-hooks';
import { GrantCopyBatch, GrantStatus, statusName, withinPage } from '../grant-copy.js';
import { MachineError } from '../machine.js';
import type { DomainId, EventChannel, ForeignGrants, GrantRef, Port } from '../machine.js';
import {
  COPY_SEGMENT,
  CopyFlag,
  Device,
  ForeignRequest,
  GRANT_COPY,
  MAP_GRANT_REF,
  UNMAP_GRANT_REF,
} from './abi.js';
import { SCRATCH_BYTES } from './arena.js';
import type { Arena } from './arena.js';
import { openDevice } from './devices.js';
import { errnoName } from './error.js';
import type { NativeEvents } from './events.js';
import type { NativeLibc } from './libc.js';
import { NativeRegisters } from './registers.js';
import type { NativeCounters } from './types.js';
import { setUnmapNotify } from './unmap-notify.js';

const REFS_PER_CALL = (SCRATCH_BYTES - MAP_GRANT_REF.refsAt) / MAP_GRANT_REF.refBytes;
const COPIES_PER_CALL = Math.floor((SCRATCH_BYTES - GRANT_COPY.sizeBytes) / COPY_SEGMENT.sizeBytes);
const TWO_32 = 2 ** 32;

/** Mapped pages of a real host. */
export interface NativeMappedPages extends MappedPages {
  /**
   * What the kernel does when these pages are unmapped, also when this process dies: sets the byte at `offset` of
   * the first page to zero, and notifies the other end of `channel`; either may be left out.
   */
  whenGone(offset: number | null, channel: EventChannel | null): void;
}

/** Pages that one call mapped. */
interface Mapping {
  readonly address: Address;
  readonly pages: number;
  readonly index: number;
}

/** A domain's use of others' grants. */
export class NativeForeign implements ForeignGrants {
  /** Foreign pages mapped now. */
  held = 0;
  private readonly descriptor: number;
  private readonly view: DataView;
  private readonly words: Uint32Array;
  /** The probe of a reference that did not map. */
  private readonly probe = new GrantCopyBatch(1);

  constructor(
    private readonly libc: NativeLibc,
    private readonly arena: Arena,
    private readonly events: NativeEvents,
    private readonly counters: NativeCounters,
  ) {
    this.view = new DataView(arena.memory.bytes.buffer, arena.scratch, SCRATCH_BYTES);
    this.words = arena.memory.words;
    this.descriptor = openDevice(libc, Device.foreign);
  }

  /** Maps granted pages: all or none. */
  map(peer: DomainId, refs: ArrayLike<number>, access: 'read' | 'write'): NativeMappedPages {
    const addresses = new Uint32Array(refs.length);
    const mappings: Mapping[] = [];
    try {
      for (let first = 0; first < refs.length; first += REFS_PER_CALL) {
        const count = Math.min(REFS_PER_CALL, refs.length - first);
        const mapping = this.mapSome(peer, refs, first, count, access);
        mappings.push(mapping);
        for (let i = 0; i < count; i++) addresses[first + i] = mapping.address + i * PAGE_BYTES;
      }
    } catch (error) {
      this.unmap(mappings);
      throw error;
    }
    return new GntdevPages(this, mappings, addresses);
  }

  /** @internal Ends mappings. */
  unmap(mappings: readonly Mapping[]): void {
    for (const { address, pages, index } of mappings) {
      this.arena.give(address, pages);
      this.forget(index, pages);
      this.held -= pages;
    }
  }

  /** See {@link NativeMappedPages.whenGone}. */
  notifyWhenGone(index: number, offset: number | null, channel: EventChannel | null): void {
    setUnmapNotify(this.libc, this.descriptor, this.arena, index, offset, channel);
  }

  /** Maps a page of registers: a write is stored, then `doorbell` is rung. */
  mapRegisters(peer: DomainId, ref: GrantRef, doorbell: Port): Registers {
    const channel = this.events.boundTo(peer, doorbell);
    if (channel === undefined)
      throw new MachineError(
        'BAD_PORT',
        `registers of domain ${peer}: expected its port ${doorbell} to be bound here, saw no such channel; ` +
          'bind the doorbell first',
      );
    const pages = this.map(peer, [ref], 'write');
    return new NativeRegisters(this.arena.memory, pages, channel);
  }

  /** Carries out a batch of copies; each one's status goes into the batch. */
  copy(peer: DomainId, batch: GrantCopyBatch): void {
    for (let first = 0; first < batch.count; first += COPIES_PER_CALL)
      this.copySome(peer, batch, first, Math.min(COPIES_PER_CALL, batch.count - first));
  }

  /** Closes the device, and ends with it all mappings. */
  close(): void {
    this.libc.close(this.descriptor);
  }

  private copySome(peer: DomainId, batch: GrantCopyBatch, first: number, count: number): void {
    const { refs, offsets, addresses, lengths, intoGrant, status } = batch;
    const { words, counters } = this;
    const { base, scratch } = this.arena;
    const segments = scratch + GRANT_COPY.sizeBytes;
    const domain = peer << 16;
    let at = segments >>> 2;
    for (let op = first; op < first + count; op++) {
      const into = intoGrant[op]!;
      let length = lengths[op]!;
      // The kernel refuses the whole batch for one that leaves its page: a copy of nothing stands in for it.
      if (!withinPage(offsets[op]!, length)) length = 0;
      const local = base + addresses[op]!;
      const grantAt = at + (into === 0 ? COPY_SEGMENT.source : COPY_SEGMENT.destination);
      const localAt = at + (into === 0 ? COPY_SEGMENT.destination : COPY_SEGMENT.source);
      words[grantAt] = refs[op]!;
      words[grantAt + 1] = (offsets[op]! & 0xffff) | domain;
      words[localAt] = local; // modulo 2^32
      words[localAt + 1] = local / TWO_32;
      words[at + COPY_SEGMENT.lengthFlags] =
        length | ((into === 0 ? CopyFlag.sourceIsGrant : CopyFlag.destinationIsGrant) << 16);
      words[at + COPY_SEGMENT.status] = GrantStatus.okay;
      at += COPY_SEGMENT.words;
    }
    const segmentsAddress = base + segments;
    words[scratch >>> 2] = count;
    words[(scratch + GRANT_COPY.segmentsAt) >>> 2] = segmentsAddress;
    words[((scratch + GRANT_COPY.segmentsAt) >>> 2) + 1] = segmentsAddress / TWO_32;
    counters.grantCopyCalls++;
    counters.grantCopies += count;
    const failed = this.libc.ioctl(this.descriptor, ForeignRequest.grantCopy, base + scratch) < 0;
    at = (segments >>> 2) + COPY_SEGMENT.status;
    for (let op = first; op < first + count; op++) {
      let result = failed ? GrantStatus.generalError : (words[at]! << 16) >> 16;
      if (!withinPage(offsets[op]!, lengths[op]!)) result = GrantStatus.badCopyArgument;
      status[op] = result;
      if (result !== GrantStatus.okay) counters.grantCopiesFailed++;
      at += COPY_SEGMENT.words;
    }
  }

  private mapSome(
    peer: DomainId,
    refs: ArrayLike<number>,
    first: number,
    count: number,
    access: 'read' | 'write',
  ): Mapping {
    const { arena, view, counters } = this;
    const address = arena.take(count);
    view.setUint32(MAP_GRANT_REF.countAt, count, true);
    for (let i = 0; i < count; i++) {
      view.setUint32(MAP_GRANT_REF.refsAt + MAP_GRANT_REF.refBytes * i, peer, true);
      view.setUint32(MAP_GRANT_REF.refsAt + MAP_GRANT_REF.refBytes * i + 4, refs[first + i]!, true);
    }
    counters.grantMapCalls++;
    if (this.libc.ioctl(this.descriptor, ForeignRequest.mapGrantRef, arena.base + arena.scratch) < 0) {
      const errno = errnoName(this.libc.errno());
      arena.give(address, count);
      throw new MachineError(
        'NO_GRANTS',
        `${count} pages of domain ${peer} cannot be mapped: the kernel answered ${errno}`,
      );
    }
    const index = Number(view.getBigUint64(MAP_GRANT_REF.indexAt, true));
    const errno = arena.lay(address, count, this.descriptor, index, access === 'write');
    if (errno !== null) {
      this.forget(index, count);
      throw this.badGrant(peer, refs, first, count, access, errno);
    }
    counters.grantMaps += count;
    this.held += count;
    return { address, pages: count, index };
  }

  private forget(index: number, pages: number): void {
    const { view, arena, counters } = this;
    view.setBigUint64(UNMAP_GRANT_REF.indexAt, BigInt(index), true);
    view.setUint32(UNMAP_GRANT_REF.countAt, pages, true);
    view.setUint32(UNMAP_GRANT_REF.paddingAt, 0, true);
    counters.grantMapCalls++;
    this.libc.ioctl(this.descriptor, ForeignRequest.unmapGrantRef, arena.base + arena.scratch);
  }

  /** The device says only that a map failed: a copy of one byte out of each grant says which, and why. */
  private badGrant(
    peer: DomainId,
    refs: ArrayLike<number>,
    first: number,
    count: number,
    access: string,
    errno: string,
  ): MachineError {
    const { probe, arena } = this;
    let ref = refs[first]!;
    let status: number = GrantStatus.okay;
    const room = arena.take(1);
    for (let i = first; i < first + count && status === GrantStatus.okay; i++) {
      ref = refs[i]!;
      probe.clear();
      probe.fromGrant(ref, 0, room, 1);
      this.copy(peer, probe);
      status = probe.status[0]!;
    }
    arena.give(room, 1);
    const why =
      status === GrantStatus.okay
        ? `the kernel answered ${errno}; can they be read but not written?`
        : `status ${status} (${statusName(status)})`;
    return new MachineError(
      'BAD_GRANT',
      status === GrantStatus.okay
        ? `${count} references of domain ${peer} from ${refs[first]} on cannot be mapped for ${access}: ${why}`
        : `reference ${ref} of domain ${peer} cannot be mapped for ${access}: ${why}`,
    );
  }
}

class GntdevPages implements NativeMappedPages {
  private mapped = true;

  constructor(
    private readonly foreign: NativeForeign,
    private readonly mappings: readonly Mapping[],
    readonly addresses: Uint32Array,
  ) {}

  whenGone(offset: number | null, channel: EventChannel | null): void {
    if (offset !== null && (offset < 0 || offset >= PAGE_BYTES))
      throw new RangeError(`whenGone: expected an offset within a page, saw ${offset}`);
    if (this.mapped) this.foreign.notifyWhenGone(this.mappings[0]!.index, offset, channel);
  }

  unmap(): void {
    if (!this.mapped) return;
    this.mapped = false;
    this.foreign.unmap(this.mappings);
  }
}
