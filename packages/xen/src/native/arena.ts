/**
 * The address space of a domain on a real host: one flat memory, into which the kernel maps what is shared.
 *
 * It is a shared WebAssembly memory, so that the copy and checksum kernels of the labs work on it; the pages of a
 * device are mapped over it at a fixed place, and fresh private pages over those again when they go. An address is
 * therefore valid for ever: one whose page is gone reads zeros. Owned by the domain; never given back.
 */
import { PAGE_BYTES } from '@netaccel/core-hooks';
import type { Address } from '@netaccel/core-hooks';
import { MachineError } from '../machine.js';
import { SharedMemory } from '../sim/memory.js';
import { MapFlag, Protection } from './abi.js';
import { errnoName, NativeError } from './error.js';
import type { NativeLibc } from './libc.js';

/** Address space when nothing is said: only what is touched takes memory. */
export const ARENA_BYTES = 2 ** 30;
const LARGEST_BYTES = 2 ** 32 - 65536;
/** Pages that arguments of system calls are put together in. */
const SCRATCH_PAGES = 4;
/** Bytes of {@link Arena.scratch}. */
export const SCRATCH_BYTES = SCRATCH_PAGES * PAGE_BYTES;

const READ_WRITE = Protection.read | Protection.write;
const FRESH = MapFlag.private | MapFlag.anonymous | MapFlag.noReserve;

/** Pages that are free, one after the other. */
interface Run {
  first: number;
  count: number;
}

/** The memory of a domain, and which of its pages are taken. */
export class Arena {
  /** What addresses point into. */
  readonly memory: SharedMemory;
  /** Where address 0 lies in the process. */
  readonly base: number;
  /** Room for arguments of one system call at a time. */
  readonly scratch: Address;
  /** Pages lost to another mapping of the process, for ever; 0 but for a freak. */
  lostPages = 0;
  /** Free pages, in order; neighbours are joined. */
  private readonly runs: Run[];

  constructor(
    private readonly libc: NativeLibc,
    bytes = ARENA_BYTES,
  ) {
    if (!Number.isInteger(bytes) || bytes % 65536 !== 0 || bytes <= SCRATCH_BYTES || bytes > LARGEST_BYTES)
      throw new NativeError(
        'BAD_VALUE',
        `arenaBytes: expected a multiple of 65536 up to ${LARGEST_BYTES}, saw ${bytes}`,
      );
    const pages = bytes / PAGE_BYTES;
    this.memory = SharedMemory.ofPages(pages);
    this.base = libc.addressOf(this.memory.bytes);
    // Page 0 stays free, so that no address is 0.
    this.runs = [{ first: 1, count: pages - 1 }];
    this.scratch = this.take(SCRATCH_PAGES);
  }

  /** Takes pages one after the other, zeroed. @throws MachineError `NO_MEMORY`. */
  take(pages: number): Address {
    const at = this.runs.findIndex(({ count }) => count >= pages);
    const run = this.runs[at];
    if (run === undefined || pages <= 0)
      throw new MachineError(
        'NO_MEMORY',
        `${pages} pages in a row were asked for; the largest free row of the arena has ` +
          `${Math.max(0, ...this.runs.map(({ count }) => count))}; free some, or open the domain with a larger arenaBytes`,
      );
    const { first } = run;
    run.first += pages;
    run.count -= pages;
    if (run.count === 0) this.runs.splice(at, 1);
    return first * PAGE_BYTES;
  }

  /** Gives taken pages back. They read as zeros from now on, and their memory is the kernel's again. */
  give(address: Address, pages: number): void {
    if (this.map(address, pages, FRESH | MapFlag.fixed, -1, 0, READ_WRITE) < 0) {
      // The kernel has no memory for the bookkeeping of one more mapping: better lose the pages than share them.
      this.lostPages += pages;
      return;
    }
    this.release(address / PAGE_BYTES, pages);
  }

  /**
   * Maps pages of a device over taken pages.
   * @returns null, or the name of the error; then the pages are given back.
   */
  lay(address: Address, pages: number, descriptor: number, offset: number, writable: boolean): string | null {
    const protection = writable ? READ_WRITE : Protection.read;
    if (this.map(address, pages, MapFlag.shared | MapFlag.fixed, descriptor, offset, protection) >= 0)
      return null;
    const errno = errnoName(this.libc.errno());
    // The kernel took what was there away before it failed. Another thread may have got the place since.
    if (this.map(address, pages, FRESH | MapFlag.fixedNoReplace, -1, 0, READ_WRITE) < 0)
      this.lostPages += pages;
    else this.release(address / PAGE_BYTES, pages);
    return errno;
  }

  /** Free pages. */
  get freePages(): number {
    return this.runs.reduce((sum, { count }) => sum + count, 0);
  }

  private map(
    address: Address,
    pages: number,
    flags: number,
    descriptor: number,
    offset: number,
    protection: number,
  ): number {
    return this.libc.mmap(this.base + address, pages * PAGE_BYTES, protection, flags, descriptor, offset);
  }

  private release(first: number, count: number): void {
    const { runs } = this;
    let at = runs.findIndex((run) => run.first > first);
    if (at < 0) at = runs.length;
    runs.splice(at, 0, { first, count });
    this.join(at);
    if (at > 0) this.join(at - 1);
  }

  /** Joins a run with the next if nothing lies between. */
  private join(at: number): void {
    const run = this.runs[at]!;
    const next = this.runs[at + 1];
    if (next === undefined || run.first + run.count !== next.first) return;
    run.count += next.count;
    this.runs.splice(at + 1, 1);
  }
}
