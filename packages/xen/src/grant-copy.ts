/**
 * A batch of grant copies (GNTTABOP_copy), as parallel arrays made once by the driver that fills it.
 * One side of each operation is a grant of the peer, the other an address of this domain.
 */
import { PAGE_BYTES } from '@netaccel/core-hooks';
import type { Address } from '@netaccel/core-hooks';
import type { GrantRef } from './machine.js';

/** Status of a grant operation (grant_table.h `GNTST_*`). */
export const GrantStatus = {
  okay: 0,
  generalError: -1,
  badDomain: -2,
  badGrantRef: -3,
  badHandle: -4,
  badVirtualAddress: -5,
  badDeviceAddress: -6,
  noDeviceSpace: -7,
  permissionDenied: -8,
  badPage: -9,
  badCopyArgument: -10,
  addressTooBig: -11,
  again: -12,
  noSpace: -13,
} as const;

/** The name of a status, for people. */
export function statusName(status: number): string {
  return Object.entries(GrantStatus).find(([, value]) => value === status)?.[0] ?? 'unknown';
}

/**
 * Operations waiting to be carried out by `ForeignGrants.copy`.
 *
 * @example
 * ```ts
 * const batch = new GrantCopyBatch(64);
 * const op = batch.fromGrant(ref, 0, buffer, 1514);
 * domain.foreign.copy(peer, batch);
 * if (batch.status[op] !== GrantStatus.okay) drop();
 * batch.clear();
 * ```
 */
export class GrantCopyBatch {
  /** Operations filled in. */
  count = 0;
  /** The peer's grant reference of each operation. */
  readonly refs: Uint32Array;
  /** Byte offset within the granted page. */
  readonly offsets: Uint32Array;
  /** This domain's side. */
  readonly addresses: Uint32Array;
  /** Bytes; an operation never crosses the granted page's end. */
  readonly lengths: Uint32Array;
  /** 1: into the grant; 0: out of it. */
  readonly intoGrant: Uint8Array;
  /** One of {@link GrantStatus}, after the copy. */
  readonly status: Int16Array;

  /** @param capacity most operations at once. */
  constructor(readonly capacity: number) {
    this.refs = new Uint32Array(capacity);
    this.offsets = new Uint32Array(capacity);
    this.addresses = new Uint32Array(capacity);
    this.lengths = new Uint32Array(capacity);
    this.intoGrant = new Uint8Array(capacity);
    this.status = new Int16Array(capacity);
  }

  /** Operations that still fit. */
  get space(): number {
    return this.capacity - this.count;
  }

  /** Adds a copy out of a grant; answers the operation's index. The caller has checked {@link space}. */
  fromGrant(ref: GrantRef, offset: number, to: Address, length: number): number {
    return this.add(ref, offset, to, length, 0);
  }

  /** Adds a copy into a grant; answers the operation's index. The caller has checked {@link space}. */
  toGrant(ref: GrantRef, offset: number, from: Address, length: number): number {
    return this.add(ref, offset, from, length, 1);
  }

  /** Forgets the operations. */
  clear(): void {
    this.count = 0;
  }

  private add(ref: number, offset: number, address: number, length: number, into: 0 | 1): number {
    const op = this.count++;
    this.refs[op] = ref;
    this.offsets[op] = offset;
    this.addresses[op] = address;
    this.lengths[op] = length;
    this.intoGrant[op] = into;
    return op;
  }
}

/** Whether a range stays within one page: what every copy is checked for first. */
export function withinPage(offset: number, length: number): boolean {
  return offset <= PAGE_BYTES && length <= PAGE_BYTES - offset;
}
