/**
 * What a domain grants to others, by /dev/xen/gntalloc: the kernel allocates the pages, and maps them into the arena.
 *
 * A page that the peer still has mapped when its grant is to end is the kernel's to keep: it ends the grant when it
 * can, and reuses the page only then (XSA-396). This domain is rid of it at once.
 */
import type { Address, SharedPages } from '@netaccel/core-hooks';
import { PAGE_BYTES } from '@netaccel/core-hooks';
import { MachineError } from '../machine.js';
import type { DomainId, EventChannel, GrantTable } from '../machine.js';
import { ALLOC_GREF, DEALLOC_GREF, Device, GRANT_WRITABLE, GrantRequest } from './abi.js';
import { SCRATCH_BYTES } from './arena.js';
import type { Arena } from './arena.js';
import { openDevice } from './devices.js';
import { errnoName } from './error.js';
import type { NativeLibc } from './libc.js';
import type { NativeCounters } from './types.js';
import { setUnmapNotify } from './unmap-notify.js';

/** Pages of one call: what its arguments have room for. */
const PAGES_PER_CALL = (SCRATCH_BYTES - ALLOC_GREF.refsAt) / 4;

/** Shared pages of a real host. */
export interface NativeSharedPages extends SharedPages {
  /**
   * What the kernel does when these pages go, also when this process dies: sets the byte at `offset` to zero, and
   * notifies the other end of `channel`; either may be left out.
   */
  whenGone(offset: number | null, channel: EventChannel | null): void;
}

/** A domain's grants. */
export class NativeGrants implements GrantTable {
  /** Pages granted now. */
  held = 0;
  private readonly descriptor: number;
  private readonly view: DataView;

  constructor(
    private readonly libc: NativeLibc,
    private readonly arena: Arena,
    private readonly counters: NativeCounters,
  ) {
    this.view = new DataView(arena.memory.bytes.buffer, arena.scratch, SCRATCH_BYTES);
    this.descriptor = openDevice(libc, Device.grants);
  }

  /** Shares fresh, zeroed pages with `peer`. */
  share(peer: DomainId, pages: number, access: 'read' | 'write'): NativeSharedPages {
    const { arena, view, counters } = this;
    if (pages > PAGES_PER_CALL)
      throw new MachineError(
        'NO_GRANTS',
        `${pages} pages were to be shared at once; expected at most ${PAGES_PER_CALL}: share them in parts`,
      );
    const address = arena.take(pages);
    view.setUint16(ALLOC_GREF.domainAt, peer, true);
    view.setUint16(ALLOC_GREF.flagsAt, access === 'write' ? GRANT_WRITABLE : 0, true);
    view.setUint32(ALLOC_GREF.countAt, pages, true);
    counters.grantShareCalls++;
    if (this.libc.ioctl(this.descriptor, GrantRequest.allocate, arena.base + arena.scratch) < 0) {
      const errno = errnoName(this.libc.errno());
      arena.give(address, pages);
      throw this.refusal(peer, pages, errno);
    }
    const index = Number(view.getBigUint64(ALLOC_GREF.indexAt, true));
    const refs = Uint32Array.from({ length: pages }, (_, i) =>
      view.getUint32(ALLOC_GREF.refsAt + 4 * i, true),
    );
    const failed = arena.lay(address, pages, this.descriptor, index, true);
    if (failed !== null) {
      this.deallocate(index, pages);
      throw new MachineError(
        'NO_MEMORY',
        `${pages} shared pages cannot be mapped: the kernel answered ${failed}`,
      );
    }
    this.held += pages;
    return new MappedSharedPages(this, address, pages, refs, index);
  }

  /** Ends grants. */
  end(address: Address, pages: number, index: number): void {
    this.arena.give(address, pages);
    this.deallocate(index, pages);
    this.held -= pages;
  }

  /** See {@link NativeSharedPages.whenGone}. */
  notifyWhenGone(index: number, offset: number | null, channel: EventChannel | null): void {
    setUnmapNotify(this.libc, this.descriptor, this.arena, index, offset, channel);
  }

  /** Closes the device, and ends with it all grants. */
  close(): void {
    this.libc.close(this.descriptor);
  }

  private deallocate(index: number, pages: number): void {
    const { view, arena, counters } = this;
    view.setBigUint64(DEALLOC_GREF.indexAt, BigInt(index), true);
    view.setUint32(DEALLOC_GREF.countAt, pages, true);
    counters.grantShareCalls++;
    this.libc.ioctl(this.descriptor, GrantRequest.deallocate, arena.base + arena.scratch);
  }

  private refusal(peer: DomainId, pages: number, errno: string): MachineError {
    const full =
      'all processes together may share so many pages, of which this one has ' +
      `${this.held}: raise /sys/module/xen_gntalloc/parameters/limit`;
    return new MachineError(
      'NO_GRANTS',
      `${pages} pages cannot be shared with domain ${peer}: the kernel answered ${errno}; ` +
        (errno === 'ENOSPC' ? full : 'release some, and see the kernel log'),
    );
  }
}

class MappedSharedPages implements NativeSharedPages {
  private shared = true;

  constructor(
    private readonly grants: NativeGrants,
    readonly address: Address,
    readonly pages: number,
    readonly refs: Uint32Array,
    private readonly index: number,
  ) {}

  whenGone(offset: number | null, channel: EventChannel | null): void {
    if (offset !== null && (offset < 0 || offset >= this.pages * PAGE_BYTES))
      throw new RangeError(`whenGone: expected an offset within ${this.pages} pages, saw ${offset}`);
    this.grants.notifyWhenGone(this.index, offset, channel);
  }

  release(): boolean {
    if (this.shared) {
      this.shared = false;
      this.grants.end(this.address, this.pages, this.index);
    }
    return true;
  }
}
