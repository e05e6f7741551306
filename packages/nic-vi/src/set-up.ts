/**
 * The guest's end of the control protocol, bring-up of one device: greets the other half, gives it pages for rings and buffers, and maps the registers of the
 * VI that it gets for them. Runs once, when netfront attaches; nothing here is on the frame path.
 *
 * Whatever is acquired puts its release into `releases` at once, so a failure at any step is undone by running those,
 * last first. The pages stay this guest's own: the other half has them mapped for the device until the VI is gone.
 */
import { PAGE_BYTES } from '@netaccel/core-hooks';
import type { Address, EventEnd, FrontendServices, MailboxReply, SharedPages } from '@netaccel/core-hooks';
import { BusMap } from './bus-map.js';
import { event, receiveDescriptor, transmitDescriptor } from './layouts.js';
import {
  MAX_MESSAGE_REFS,
  decodeBuffersReply,
  decodeHandover,
  encodeBuffers,
  encodeRings,
} from './messages.js';
import type { HandoverMessage } from './messages.js';
import { CONTROL_VERSIONS, ControlFeature, ControlMessage, decodeHello, encodeHello } from './protocol.js';
import type { Hello } from './protocol.js';
import { VirtualInterface } from './vi.js';

const TRANSMIT_CAPACITY = 512;
const RECEIVE_CAPACITY = 1024;
/** Both rings full, and then some, so that the queue never overflows. */
const EVENT_CAPACITY = 2048;
/** Bytes of a receive buffer: two in a page, and an ordinary frame fits one. */
const RECEIVE_BUFFER_BYTES = 2048;

/** A VI that a guest's half was given, ready for use. */
export interface ReadyVi {
  /** Its rings and registers. */
  readonly vi: VirtualInterface;
  /** Where the guest's memory is on the bus: what is registered. */
  readonly buses: BusMap;
  /** What the other half says of it. */
  readonly handover: HandoverMessage;
  /** Masked once it has come, until it is unmasked. */
  readonly interrupt: EventEnd;
  /** The receive buffers: start, number and bytes of each. All of them are free. */
  readonly buffers: { readonly address: Address; readonly count: number; readonly bytes: number };
  /** Events that its queue has room for: those of both rings at once. */
  readonly eventCapacity: number;
}

/**
 * Asks the other half for a VI.
 * @param services what netfront handed over.
 * @param receivePages pages of receive buffers wanted; the quota may allow fewer.
 * @param releases gets what gives back each thing acquired.
 * @param onInterrupt called when the device has events.
 * @throws when the other half refuses, does not answer, or answers what cannot be.
 */
export async function setUpVi(
  services: FrontendServices,
  receivePages: number,
  releases: (() => void)[],
  onInterrupt: () => void,
): Promise<ReadyVi> {
  const share = (pages: number): SharedPages => {
    const shared = services.share(pages, 'write');
    releases.push(() => shared.release());
    return shared;
  };
  const { bufferPages } = await greet(services, receivePages);
  const transmit = share(pagesOf(TRANSMIT_CAPACITY * transmitDescriptor.size));
  const receive = share(pagesOf(RECEIVE_CAPACITY * receiveDescriptor.size));
  const events = share(pagesOf(EVENT_CAPACITY * event.size));
  const capacities = {
    transmitCapacity: TRANSMIT_CAPACITY,
    receiveCapacity: RECEIVE_CAPACITY,
    eventCapacity: EVENT_CAPACITY,
  };
  const handover = decodeHandover(
    await ask(
      services,
      ControlMessage.rings,
      encodeRings({
        ...capacities,
        transmitRefs: transmit.refs,
        receiveRefs: receive.refs,
        eventRefs: events.refs,
      }),
    ),
  );
  if (handover.mac.some((byte, i) => byte !== services.vif.mac[i]))
    throw new Error(
      'both halves expected to name one MAC, two seen: the key "mac" of the vif was changed in one place only',
    );
  if (handover.doorbellPort !== 0) {
    const doorbell = services.events.bind(handover.doorbellPort, () => undefined);
    releases.push(() => doorbell.close());
  }
  const registers = services.mapRegisters(handover.registerRef, handover.doorbellPort);
  releases.push(() => registers.unmap());
  const interrupt = services.events.bind(handover.interruptPort, onInterrupt);
  releases.push(() => interrupt.close());

  const buses = new BusMap(services.memory);
  const buffers = share(Math.min(bufferPages, receivePages));
  await register(services, buses, buffers, true);
  if (services.transmitMemory !== null)
    await registerTransmitMemory(services, buses, services.transmitMemory);
  const vi = new VirtualInterface(services.memory, registers, {
    ...capacities,
    transmitRing: transmit.address,
    receiveRing: receive.address,
    eventQueue: events.address,
    startIndex: handover.startIndex,
  });
  const count = (buffers.pages * PAGE_BYTES) / RECEIVE_BUFFER_BYTES;
  return {
    vi,
    buses,
    handover,
    interrupt,
    buffers: { address: buffers.address, count, bytes: RECEIVE_BUFFER_BYTES },
    eventCapacity: EVENT_CAPACITY,
  };
}

/**
 * A request to the other half that must succeed: its answer.
 * @param type one of {@link ControlMessage}, or a number of your own.
 * @param timeoutMs the mailbox's own limit when left out.
 * @throws when it is refused or not answered.
 */
export async function ask(
  services: FrontendServices,
  type: number,
  payload: Uint8Array = new Uint8Array(0),
  timeoutMs?: number,
): Promise<Uint8Array> {
  const reply = await services.mailbox.request(type, payload, timeoutMs);
  if (!reply.ok)
    throw new Error(`the backend half refused message ${type}; the driver domain's log says why`);
  return reply.payload;
}

/** Versions and quota. */
async function greet(services: FrontendServices, bufferPages: number): Promise<Hello> {
  const { oldest, newest } = CONTROL_VERSIONS;
  const reply: MailboxReply = await services.mailbox.request(
    ControlMessage.hello,
    encodeHello({ oldest, newest, features: ControlFeature.remoteAddresses, bufferPages }),
  );
  // A refusal says why as well as it can: versions that do not meet, or a quota of nothing.
  const hello = decodeHello(reply.payload);
  if (hello.oldest !== hello.newest || hello.newest < oldest || hello.newest > newest)
    throw new Error(
      `this half speaks versions ${oldest} to ${newest} of the control protocol, the backend half ${hello.oldest} to ` +
        `${hello.newest}; bring both plugins up to date`,
    );
  if (!reply.ok || hello.bufferPages === 0)
    throw new Error('the quota has no page for receive buffers; raise limits/max-buf-pages of the vif');
  return hello;
}

/** Has the device know netfront's memory, so that frames are sent from where they lie. */
async function registerTransmitMemory(
  services: FrontendServices,
  buses: BusMap,
  pages: SharedPages,
): Promise<void> {
  try {
    await register(services, buses, pages, false);
  } catch (error) {
    // The host gave up on this device: what is shared is not ours any more, nothing may be written to it.
    if (isClosed(error)) throw error;
    // Frames in the rest are declined, as not registered; those in what was taken still go.
    services.log('warn', `part of the transmit memory is not registered: ${String(error)}`);
  }
}

/** Has the device know pages, chunk by chunk. */
async function register(
  services: FrontendServices,
  buses: BusMap,
  pages: SharedPages,
  writable: boolean,
): Promise<void> {
  for (let first = 0; first < pages.pages; first += MAX_MESSAGE_REFS) {
    const refs = pages.refs.slice(first, first + MAX_MESSAGE_REFS);
    const request = encodeBuffers({ cookie: first, writable, refs });
    const reply = decodeBuffersReply(await ask(services, ControlMessage.buffers, request));
    if (reply.cookie !== first || reply.count !== refs.length)
      throw new Error(
        `${refs.length} pages from ${first} on were sent, ${reply.count} from ${reply.cookie} on answered`,
      );
    buses.add(pages.address + first * PAGE_BYTES, refs.length, reply.bus);
  }
}

/** Whether the mailbox was closed: by either end, for good. */
function isClosed(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'CLOSED';
}

function pagesOf(bytes: number): number {
  return Math.ceil(bytes / PAGE_BYTES);
}
