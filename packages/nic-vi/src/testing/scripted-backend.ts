/**
 * The driver domain's half of a plugin as a test says: by the book, or lying in any field of what it answers.
 */
import { PAGE_BYTES } from '@netaccel/core-hooks';
import type { FakeMailbox } from '@netaccel/core-hooks/testing';
import { Owner } from '../control.js';
import type { ViRequest } from '../control.js';
import { decodeBuffers, decodeRings, encodeBuffersReply, encodeHandover } from '../messages.js';
import type { HandoverMessage } from '../messages.js';
import { ControlMessage, decodeHello, encodeHello } from '../protocol.js';
import type { Hello } from '../protocol.js';
import { macOf } from './frames.js';
import type { TwoNics } from './two-nics.js';

const nothing = new Uint8Array(0);
const DOORBELL = 900;
/** Port, and vector, of the VI's interrupt. */
export const INTERRUPT = 901;
const START_INDEX = 0xffff_ffe0;
/** Receive buffers granted when the test does not say. */
const GRANTED = 8;

/** Changes to what the backend half answers. */
export interface Script {
  /** Fields of its answer to a greeting. */
  hello?: Partial<Hello>;
  /** Fields of the VI that it hands over. */
  handover?: Partial<HandoverMessage>;
  /** Fields of its answers to pages. */
  buffers?: { bus?: number; count?: number; cookie?: number };
  /** Messages that are refused. */
  refuse?: readonly number[];
  /** Messages that are answered with these bytes. */
  bytes?: Readonly<Record<number, Uint8Array>>;
  /** Fields of what it asks the NIC for. */
  request?: Partial<ViRequest>;
  /** Receive buffers granted. */
  pages?: number;
  /** Where rings and event queue begin; near 2^32 when left out. */
  startIndex?: number;
}

/** See the top of the file. */
export class ScriptedBackend {
  /** The VI that the guest was given; -1 before. */
  vi = -1;

  /**
   * Answers from here on.
   * @param nics the machine.
   * @param mailbox its end.
   * @param script what it does otherwise than by the book.
   */
  constructor(
    private readonly nics: TwoNics,
    private readonly mailbox: FakeMailbox,
    private readonly script: Script,
  ) {
    this.on(ControlMessage.hello, (payload) => this.welcome(payload));
    this.on(ControlMessage.rings, (payload) => this.makeVi(payload));
    this.on(ControlMessage.buffers, (payload) => {
      const { cookie, refs } = decodeBuffers(payload);
      const bus = nics.control.registerBuffers(this.vi, addressesOf(refs));
      return encodeBuffersReply({ cookie, count: refs.length, bus, ...script.buffers });
    });
    for (const type of [ControlMessage.start, ControlMessage.quiesce, ControlMessage.stray])
      this.on(type, () => nothing);
  }

  private on(type: number, act: (payload: Uint8Array) => Uint8Array): void {
    const { script } = this;
    this.mailbox.handle(type, (payload) => {
      if (script.refuse?.includes(type) === true)
        return { ok: false, payload: script.bytes?.[type] ?? nothing };
      const answer = act(payload);
      return { ok: true, payload: script.bytes?.[type] ?? answer };
    });
  }

  private welcome(payload: Uint8Array): Uint8Array {
    const { features, bufferPages } = decodeHello(payload);
    const granted = Math.min(bufferPages, this.script.pages ?? GRANTED);
    return encodeHello({ oldest: 1, newest: 1, features, bufferPages: granted, ...this.script.hello });
  }

  private makeVi(payload: Uint8Array): Uint8Array {
    const { control, memory } = this.nics;
    const { script } = this;
    const rings = decodeRings(payload);
    const registerPage = memory.allocate(1);
    const startIndex = script.startIndex ?? START_INDEX;
    this.vi = control.allocateVi({
      ...rings,
      owner: Owner.firstGuest,
      transmitPages: addressesOf(rings.transmitRefs),
      receivePages: addressesOf(rings.receiveRefs),
      eventPages: addressesOf(rings.eventRefs),
      registerPage,
      vector: INTERRUPT,
      startIndex,
      ...script.request,
    });
    return encodeHandover({
      vi: this.vi,
      generation: control.generation,
      startIndex,
      registerRef: registerPage / PAGE_BYTES,
      doorbellPort: DOORBELL,
      interruptPort: INTERRUPT,
      mtu: 1500,
      maxFragments: 64,
      maxTransmitBytes: 65553,
      maxBufferPages: 1024,
      maxFilters: 2,
      receiveChecksum: true,
      transmitChecksum: true,
      segmentation: true,
      mac: macOf(0xa),
      ...script.handover,
    });
  }
}

function addressesOf(refs: Uint32Array): Uint32Array {
  return refs.map((ref) => ref * PAGE_BYTES);
}
