/**
 * A VI of the bench's own on a port that gets what no filter claims: the far end of the wire, and the driver domain's
 * receive queue. Polled by the bench; its pages are the bench's for good.
 */
import { PAGE_BYTES } from '@netaccel/core-hooks';
import type { Address, Memory } from '@netaccel/core-hooks';
import { Owner } from '../control.js';
import { EventBatch } from '../events.js';
import { EventType } from '../layouts.js';
import type { Nic } from '../model/index.js';
import { VirtualInterface } from '../vi.js';

const TRANSMIT = 64;
const RECEIVE = 256;
const EVENTS = 1024;
const BUFFER_BYTES = 2048;
const BATCH = 64;
const RECEIVE_PAGES = (RECEIVE * BUFFER_BYTES) / PAGE_BYTES;

/** The pages that a station needs: they survive a reset of its NIC. */
export interface StationPages {
  readonly transmitRing: Address;
  readonly receiveRing: Address;
  readonly eventQueue: Address;
  readonly registers: Address;
  readonly buffers: Address;
}

/** Takes a station's pages. */
export function stationPages(allocate: (pages: number) => Address): StationPages {
  return {
    transmitRing: allocate(1),
    receiveRing: allocate(1),
    eventQueue: allocate(4),
    registers: allocate(1),
    buffers: allocate(RECEIVE_PAGES + 1),
  };
}

/** One end. */
export class Station {
  private readonly vi: VirtualInterface;
  private readonly bus: number;
  private readonly batch = new EventBatch(BATCH);
  private readonly ids = new Int32Array(TRANSMIT);

  constructor(
    private readonly memory: Memory,
    nic: Nic,
    private readonly pages: StationPages,
  ) {
    const { transmitRing, receiveRing, eventQueue, registers: page, buffers } = pages;
    const control = nic.control(0);
    const capacities = { transmitCapacity: TRANSMIT, receiveCapacity: RECEIVE, eventCapacity: EVENTS };
    memory.clear(page, PAGE_BYTES);
    memory.clear(eventQueue, 4 * PAGE_BYTES);
    const run = (address: Address, count: number): number[] =>
      Array.from({ length: count }, (_, i) => address + i * PAGE_BYTES);
    const id = control.allocateVi({
      ...capacities,
      owner: Owner.driverDomain,
      transmitPages: [transmitRing],
      receivePages: [receiveRing],
      eventPages: run(eventQueue, 4),
      registerPage: page,
      vector: 0,
    });
    this.bus = control.registerBuffers(id, run(buffers, RECEIVE_PAGES + 1));
    const { words } = memory;
    const registers = {
      write32: (offset: number, value: number): void => {
        words[(page + offset) >>> 2] = value;
        nic.registerWritten(page + offset);
      },
      read32: (offset: number): number => words[(page + offset) >>> 2]!,
      unmap: (): void => undefined,
    };
    this.vi = new VirtualInterface(memory, registers, {
      ...capacities,
      transmitRing,
      receiveRing,
      eventQueue,
    });
    for (let i = 0; i < RECEIVE; i++) this.post(i);
    this.vi.receivePush();
    control.addFilter(id, { kind: 'unmatchedUnicast' });
    control.addFilter(id, { kind: 'unmatchedMulticast' });
  }

  /** Puts a frame on the wire. */
  send(bytes: Uint8Array): void {
    const at = RECEIVE_PAGES * PAGE_BYTES;
    this.memory.bytes.set(bytes, this.pages.buffers + at);
    this.vi.transmitInit(this.bus + at, bytes.length, 0);
    this.vi.transmitPush();
  }

  /** Takes what arrived, in order. */
  take(): Uint8Array[] {
    const frames: Uint8Array[] = [];
    const { vi, batch, memory, pages } = this;
    for (let n = vi.poll(batch); n > 0; n = vi.poll(batch)) {
      for (let i = 0; i < n; i++) {
        if (batch.type[i] === EventType.transmit) vi.transmitUnbundle(batch.detail[i]!, this.ids);
        if (batch.type[i] !== EventType.receive) continue;
        const at = pages.buffers + batch.id[i]! * BUFFER_BYTES;
        frames.push(memory.bytes.slice(at, at + batch.bytes[i]!));
        this.post(batch.id[i]!);
      }
      vi.receivePush();
    }
    return frames;
  }

  private post(buffer: number): void {
    this.vi.receiveInit(this.bus + buffer * BUFFER_BYTES, BUFFER_BYTES, buffer);
  }
}
