// A driver domain for two-guests.ts: its own VI on the port, what a backend plugin holds of the port, and the bridge.
import { FramePool, PAGE_BYTES } from '@netaccel/core-hooks';
import type { BackendServices, Frame } from '@netaccel/core-hooks';
import { BusMap, EventType, FrameVi, Transmit, VirtualInterface } from '@netaccel/nic-vi';
import type { Side } from './two-guests.js';

/** The driver domain's own driver of the port. */
export class DriverDomain {
  private readonly frames: FrameVi;
  private readonly vi: number;
  private readonly receivers = new Set<(frame: Frame) => void>();
  private readonly transmitters = new Set<(frame: Frame) => void>();
  private readonly markers = new Map<number, () => void>();
  private nextMarker = 1;
  private readonly out: FramePool;

  constructor(private readonly side: Side) {
    const { memory } = side.lab;
    const page = (count = 1): number => memory.allocate(count);
    const pages = (address: number, count: number): number[] =>
      Array.from({ length: count }, (_, i) => address + i * PAGE_BYTES);
    const rings = { transmitRing: page(), receiveRing: page(), eventQueue: page(4) };
    const capacities = { transmitCapacity: 64, receiveCapacity: 256, eventCapacity: 1024 };
    const registerPage = page();
    this.vi = side.control.allocateVi({
      ...capacities,
      owner: 1,
      transmitPages: [rings.transmitRing],
      receivePages: [rings.receiveRing],
      eventPages: pages(rings.eventQueue, 4),
      registerPage,
      vector: 0,
    });
    const buses = new BusMap(memory);
    const register = (count: number): number => {
      const address = page(count);
      buses.add(address, count, side.control.registerBuffers(this.vi, pages(address, count)));
      return address;
    };
    const registers = { ...side.registers(registerPage), unmap: () => undefined };
    const vi = new VirtualInterface(memory, registers, { ...rings, ...capacities });
    const buffers = { address: register(256), count: 512, bytes: 2048 };
    this.out = new FramePool(64, register(32), 2048);
    this.frames = new FrameVi(vi, buses, buffers, {
      received: (frame) => this.received(frame),
      completed: (frame) => frame.release(),
      failed: () => {
        throw new Error('the driver domain sent what cannot be');
      },
      event: (type, detail) => {
        if (type !== EventType.software) return;
        this.markers.get(detail)!();
        this.markers.delete(detail);
      },
    });
    this.frames.replenish();
    side.control.addFilter(this.vi, { kind: 'unmatchedUnicast' });
    side.control.addFilter(this.vi, { kind: 'unmatchedMulticast' });
  }

  /** What a backend plugin holds. */
  hold(): BackendServices['port'] {
    const subscribe = <T>(to: Set<T>, handler: T): (() => void) => {
      to.add(handler);
      return () => to.delete(handler);
    };
    return {
      name: 'eth0',
      device: this.side.control,
      onReceive: (handler) => subscribe(this.receivers, handler),
      onTransmit: (handler) => subscribe(this.transmitters, handler),
      onLink: (handler) => {
        handler(true);
        return () => undefined;
      },
      onReset: () => () => undefined,
      received: () =>
        new Promise((resolve) => {
          this.markers.set(this.nextMarker, resolve);
          this.side.control.putEvent(this.vi, this.nextMarker++);
        }),
    };
  }

  /** Takes frames and markers off the port's queue. */
  poll(budget: number): void {
    this.frames.poll(budget);
  }

  /** Copies a guest's frame to the wire; false while there is no room. */
  send(frame: Frame): boolean {
    const copy = this.out.allocate();
    if (copy === null) return false;
    this.side.lab.memory.copy(copy.home, frame.address, frame.length);
    copy.describe(copy.home, frame.length);
    for (const look of this.transmitters) look(copy);
    if (this.frames.transmit(copy) !== Transmit.taken) throw new Error('the ring is as large as the pool');
    this.frames.push();
    return true;
  }

  private received(frame: Frame): void {
    for (const look of this.receivers) look(frame);
    const { memory } = this.side.lab;
    const bytes = memory.bytes.slice(frame.address, frame.address + frame.length);
    if ((bytes[0]! & 1) !== 0 || bytes[5] === this.side.mac[5]) this.side.enter(bytes);
  }
}
