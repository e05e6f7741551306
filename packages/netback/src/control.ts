/**
 * The control ring: a guest's requests about hashing, answered one for one and in order (netif.h, "control
 * ring"). Static grants are not offered: those requests are answered "not supported".
 *
 * Optional: a guest that wrote `ctrl-ring-ref` has one. Runs in a task of its own, a few requests at a time, so a
 * guest that floods it slows down nothing but itself. Made and closed by `Connection`.
 */
import { PAGE_BYTES } from '@netaccel/core-hooks';
import type { Address } from '@netaccel/core-hooks';
import { GrantCopyBatch } from '@netaccel/xen';
import type { BackRing, Domain, DomainId, EventChannel, Port, Task } from '@netaccel/xen';
import { ControlStatus, ControlType, controlRequest, controlResponse } from '@netaccel/xen/netif';
import { MOST_MAPPING_ENTRIES } from './hash.js';
import type { HashSettings } from './hash.js';

const ID = controlRequest.fields.id.offset >>> 1;
const TYPE = controlRequest.fields.type.offset >>> 1;
const DATA = controlRequest.fields.data0.offset >>> 2;
const RESPONSE_ID = controlResponse.fields.id.offset >>> 1;
const RESPONSE_TYPE = controlResponse.fields.type.offset >>> 1;
const RESPONSE_STATUS = controlResponse.fields.status.offset >>> 2;
const RESPONSE_DATA = controlResponse.fields.data.offset >>> 2;
const WORD_BYTES = 4;
/** Requests of one run. */
const BUDGET = 8;

/** What a control ring is made with. */
export interface ControlParts {
  readonly domain: Domain;
  readonly guest: DomainId;
  readonly ring: BackRing;
  readonly port: Port;
  readonly hash: HashSettings;
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
    for (let n = 0; n < budget && waiting > 0; n++, waiting--) this.answerNext();
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
