/**
 * A guest for one vif without a machine: services over one memory, a NIC model whose wire ends at a second NIC, and a
 * backend half that does its part by the book unless a test says otherwise ({@link Script}).
 */
import { FramePool, PAGE_BYTES, holdChain, releaseChain } from '@netaccel/core-hooks';
import type {
  EventEnd,
  Frame,
  FrontendAccelerator,
  FrontendServices,
  ReceiveFence,
  Registers,
  SharedPages,
} from '@netaccel/core-hooks';
import { mailboxPair } from '@netaccel/core-hooks/testing';
import type { FakeMailbox } from '@netaccel/core-hooks/testing';
import { encodeFilter } from '../messages.js';
import { ControlMessage, encodeAddress, encodeLink } from '../protocol.js';
import { macOf } from './frames.js';
import { ScriptedBackend } from './scripted-backend.js';
import type { Script } from './scripted-backend.js';
import { Holdings, TwoNics } from './two-nics.js';

/** A frame that the stack got. */
export interface Delivered {
  /** Its bytes, of all fragments. */
  readonly bytes: Uint8Array;
  /** One of `Checksum`. */
  readonly checksum: number;
  /** Payload of each segment, 0 for a whole frame. */
  readonly segmentBytes: number;
}

/** Pages of transmit memory. */
const TRANSMIT_PAGES = 68;
const BUFFER_BYTES = 2048;
const nothing = (): void => undefined;

/** See the top of the file. */
export class FakeGuest extends TwoNics {
  /** The other half's end. */
  readonly backend: FakeMailbox;
  /** The plugin's. */
  readonly mailbox: FakeMailbox;
  /** What the half under test is handed. */
  readonly services: FrontendServices;
  /** What `failed` was told. */
  readonly failures: string[] = [];
  /** What was logged. */
  readonly lines: string[] = [];
  /** What the stack got. */
  readonly delivered: Delivered[] = [];
  /** Frames that netfront got back. */
  readonly completed: Frame[] = [];
  /** Times that netfront was woken. */
  wakes = 0;
  /** Times that a poll was asked for. */
  polls = 0;
  /** What `passed` says. */
  passed: (fence: ReceiveFence) => boolean = () => true;
  /** The stack keeps what it is delivered. */
  keeping: Frame[] | null = null;
  /** The memory that outgoing frames lie in. */
  readonly pool: FramePool;
  /** The same for large ones. */
  readonly large: FramePool;
  private readonly half: ScriptedBackend;
  private readonly held = new Holdings(['shares', 'registers', 'ports'] as const);
  private readonly handlers: Map<number, () => void>;
  private readonly masked = new Set<number>();

  /** @param script what the backend half does otherwise than by the book. */
  constructor(readonly script: Script = {}) {
    const handlers = new Map<number, () => void>();
    let raise: (port: number) => void = nothing;
    super((vector) => {
      raise(vector);
    });
    raise = (port) => {
      this.raise(port);
    };
    this.handlers = handlers;
    const { memory } = this;
    this.pool = new FramePool(64, memory.allocate(32), BUFFER_BYTES);
    this.large = new FramePool(2, memory.allocate(36), 18 * PAGE_BYTES);
    [this.mailbox, this.backend] = mailboxPair();
    this.services = this.makeServices();
    this.half = new ScriptedBackend(this, this.backend, script);
  }

  /** The VI that the guest was given; -1 before. */
  get vi(): number {
    return this.half.vi;
  }

  /** A frame of these bytes, held once by the caller. */
  frame(bytes: Uint8Array): Frame {
    const frame = (bytes.length > BUFFER_BYTES ? this.large : this.pool).allocate()!;
    this.memory.bytes.set(bytes, frame.home);
    frame.describe(frame.home, bytes.length);
    return frame;
  }

  /** Waits for something that needs time, while the clock goes on and the device is polled. */
  whilePolled<T>(work: Promise<T>, device?: FrontendAccelerator): Promise<T> {
    return this.during(work, () => device?.poll(64));
  }

  /** Adds a filter to the NIC as the backend half does, without telling. */
  addFilter(port = 80): number {
    const flow = { mac: macOf(0xa), protocol: 'udp' as const, localAddress: [10, 0, 0, 2], localPort: port };
    return this.control.addFilter(this.vi, { kind: 'local', ...flow });
  }

  /** Tells of a filter; resolves to whether the plugin took it. */
  async tellFilter(filter: number, added = true, fence: readonly number[] = [1]): Promise<boolean> {
    const flow = { protocol: 'udp' as const, localAddress: Uint8Array.of(10, 0, 0, 2), localPort: 80 };
    const remote = { remoteAddress: null, remotePort: 0, vlan: null };
    const payload = encodeFilter({ added, filter, ...flow, ...remote, fence });
    return (await this.backend.request(ControlMessage.filter, payload)).ok;
  }

  /** Tells of an address. */
  async tell(mac: Uint8Array, place: 'here' | 'across' = 'across'): Promise<boolean> {
    const type = place === 'here' ? ControlMessage.localAddress : ControlMessage.remoteAddress;
    return (await this.backend.request(type, encodeAddress(mac))).ok;
  }

  /** Tells of the link. */
  async tellLink(up: boolean): Promise<boolean> {
    return (await this.backend.request(ControlMessage.link, encodeLink(up))).ok;
  }

  /** What is held: all zero after a clean end. */
  ledger(): { shares: number; registers: number; ports: number; timers: number } {
    return { ...this.held.now, timers: this.clock.pending };
  }

  /** Rings a port's handler, as an event does, unless it is masked. */
  raise(port: number): void {
    const handler = this.handlers.get(port);
    if (handler === undefined || this.masked.has(port)) return;
    this.masked.add(port);
    handler();
  }

  private makeServices(): FrontendServices {
    const { memory, clock, held, nic, mailbox } = this;
    const first = this.pool.frames[0]!.home;
    return {
      contract: 1,
      memory,
      mailbox,
      clock,
      vif: { handle: 0, guest: 3, backend: 0, mac: macOf(0xa), mtu: 1500 },
      transmitMemory: {
        address: first,
        pages: TRANSMIT_PAGES,
        refs: this.refsOf(first, TRANSMIT_PAGES),
        release: () => {
          throw new Error('transmitMemory is not the plugin’s to release');
        },
      },
      events: {
        open: () => {
          throw new Error('the backend half opens the channels');
        },
        bind: (remote, handler): EventEnd => {
          this.fail('events.bind');
          this.handlers.set(remote, handler);
          const close = held.take('ports', () => this.handlers.delete(remote));
          this.raise(remote); // the local side is pending at once
          return { port: remote, notify: nothing, unmask: () => this.masked.delete(remote), close };
        },
        vector: () => 0,
      },
      store: {
        read: () => Promise.resolve(null),
        write: () => Promise.resolve(),
        readPeer: () => Promise.resolve(null),
        watchPeer: () => Promise.resolve(() => Promise.resolve()),
      },
      share: (pages): SharedPages => {
        this.fail('share');
        const address = memory.allocate(pages);
        const close = held.take('shares');
        const release = (): boolean => {
          close();
          memory.clear(address, pages * PAGE_BYTES); // nobody may read what is given back
          return true;
        };
        return { address, pages, refs: this.refsOf(address, pages), release };
      },
      mapRegisters: (ref): Registers => {
        this.fail('mapRegisters');
        const page = ref * PAGE_BYTES;
        const unmap = held.take('registers');
        return {
          write32: (offset, value) => {
            memory.words[(page + offset) >>> 2] = value;
            nic.registerWritten(page + offset);
          },
          read32: (offset) => memory.words[(page + offset) >>> 2]!,
          unmap,
        };
      },
      deliver: (frame) => {
        const bytes: number[] = [];
        for (let f: Frame | null = frame; f !== null; f = f.next)
          bytes.push(...memory.bytes.subarray(f.address, f.address + f.length));
        this.delivered.push({
          bytes: Uint8Array.from(bytes),
          checksum: frame.checksum,
          segmentBytes: frame.segmentBytes,
        });
        if (this.keeping !== null) {
          holdChain(frame);
          this.keeping.push(frame);
        }
      },
      completed: (frame) => {
        this.completed.push(frame);
        releaseChain(frame);
      },
      wake: () => {
        this.wakes++;
      },
      schedulePoll: () => {
        this.polls++;
      },
      passed: (fence) => this.passed(fence),
      log: (level, message) => this.lines.push(`${level}: ${message}`),
      failed: (reason) => this.failures.push(reason),
    };
  }
}
