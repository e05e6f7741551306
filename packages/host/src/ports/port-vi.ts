/**
 * The VI of a NIC port's own driver: rings, receive buffers, and the filters for all that nobody else asked for.
 *
 * Made by the port when it opens, and again after each reset of the NIC. It owns its pages; they are given back by
 * `free`, once the NIC knows nothing of them and nobody holds a frame that lies in them.
 */
import { PAGE_BYTES } from '@netaccel/core-hooks';
import type { Memory, Registers } from '@netaccel/core-hooks';
import {
  BusMap,
  FrameVi,
  Owner,
  VirtualInterface,
  event,
  receiveDescriptor,
  transmitDescriptor,
} from '@netaccel/nic-vi';
import type { FrameViHandler, NicControl, ViId } from '@netaccel/nic-vi';
import type { PageAllocator } from '@netaccel/xen';

/** How big a port's driver is. All but the last are powers of two. */
export interface NicPortSizes {
  /** Transmit descriptors; 512. */
  readonly transmitCapacity: number;
  /** Receive descriptors; 512. */
  readonly receiveCapacity: number;
  /** Events of the queue; 1024. Below the sum of the other two, events can be lost. */
  readonly eventCapacity: number;
  /** Receive buffers of {@link NicPortSizes.bufferBytes}; 2048. */
  readonly buffers: number;
  /** Bytes of a receive buffer; 2048. */
  readonly bufferBytes: number;
}

/** What a port gets when nothing is said. */
export const NIC_PORT_SIZES: NicPortSizes = {
  transmitCapacity: 512,
  receiveCapacity: 512,
  eventCapacity: 1024,
  buffers: 2048,
  bufferBytes: 2048,
};

/** What it is made with. */
export interface PortViParts {
  readonly memory: Memory;
  readonly pages: PageAllocator;
  readonly control: NicControl;
  /** A register page of this domain, as the NIC sees writes to it. */
  registers(page: number): Registers;
  /** Raised for events. */
  readonly vector: number;
  readonly sizes: NicPortSizes;
  readonly handler: FrameViHandler;
}

/** One VI of a port's driver. */
export class PortVi {
  readonly id: ViId;
  readonly frames: FrameVi;
  private readonly buses: BusMap;
  private readonly taken: number[] = [];

  /** @throws MachineError `NO_MEMORY`, NicError; nothing stays taken then. */
  constructor(private readonly parts: PortViParts) {
    const { memory, control, sizes, handler } = parts;
    const { transmitCapacity, receiveCapacity, eventCapacity } = sizes;
    this.buses = new BusMap(memory);
    let id: ViId | null = null;
    try {
      const rings = {
        transmitRing: this.allocate(transmitCapacity * transmitDescriptor.size),
        transmitCapacity,
        receiveRing: this.allocate(receiveCapacity * receiveDescriptor.size),
        receiveCapacity,
        eventQueue: this.allocate(eventCapacity * event.size),
        eventCapacity,
      };
      const registerPage = this.allocate(PAGE_BYTES);
      const buffers = this.allocate(sizes.buffers * sizes.bufferBytes);
      id = control.allocateVi({
        owner: Owner.driverDomain,
        transmitPages: pagesOf(rings.transmitRing, transmitCapacity * transmitDescriptor.size),
        transmitCapacity,
        receivePages: pagesOf(rings.receiveRing, receiveCapacity * receiveDescriptor.size),
        receiveCapacity,
        eventPages: pagesOf(rings.eventQueue, eventCapacity * event.size),
        eventCapacity,
        registerPage,
        vector: parts.vector,
      });
      this.id = id;
      this.register(buffers, sizes.buffers * sizes.bufferBytes);
      this.frames = new FrameVi(
        new VirtualInterface(memory, parts.registers(registerPage), rings),
        this.buses,
        { address: buffers, count: sizes.buffers, bytes: sizes.bufferBytes },
        handler,
      );
      this.frames.replenish();
      control.addFilter(id, { kind: 'unmatchedUnicast' });
      control.addFilter(id, { kind: 'unmatchedMulticast' });
    } catch (error) {
      if (id !== null) control.freeVi(id);
      this.free();
      throw error;
    }
  }

  /** Makes `bytes` of this domain's memory known to the NIC: a VI can name only pages that it was told of. */
  register(address: number, bytes: number): void {
    const pages = pagesOf(address, bytes);
    this.buses.add(address, pages.length, this.parts.control.registerBuffers(this.id, pages));
  }

  /** Gives the pages back. The NIC has let go of the VI. */
  free(): void {
    for (const address of this.taken.splice(0)) this.parts.pages.free(address);
  }

  private allocate(bytes: number): number {
    const address = this.parts.pages.allocate(Math.ceil(bytes / PAGE_BYTES));
    this.taken.push(address);
    return address;
  }
}

function pagesOf(address: number, bytes: number): number[] {
  return Array.from({ length: Math.ceil(bytes / PAGE_BYTES) }, (_, i) => address + i * PAGE_BYTES);
}
