/**
 * Bring-up of one device: greets the other half, gives it pages for rings and buffers, and maps the registers of the
 * VI that it gets for them. Runs once; nothing here is on the frame path.
 *
 * Whatever is acquired puts its release into `releases` at once, so a failure at any step is undone by running
 * those, last first.
 */
import { PAGE_BYTES } from '@netaccel/core-hooks';
import type { Address, EventEnd, FrontendServices, SharedPages } from '@netaccel/core-hooks';
import {
  BusMap,
  CONTROL_VERSIONS,
  ControlMessage,
  MAX_MESSAGE_REFS,
  VirtualInterface,
  decodeBuffersReply,
  decodeHandover,
  decodeHello,
  encodeBuffers,
  encodeHello,
  encodeRings,
  event,
  receiveDescriptor,
  transmitDescriptor,
} from '@netaccel/nic-vi';
import type { HandoverMessage } from '@netaccel/nic-vi';
import { RECEIVE_PAGES } from '../abilities.js';

/** Sizes of the rings, in slots. The event queue takes both others at once, so that it never overflows. */
const SLOTS = { transmitCapacity: 512, receiveCapacity: 1024, eventCapacity: 2048 } as const;
/** Two receive buffers in a page: an ordinary frame fits one. */
const RECEIVE_BUFFER_BYTES = 2048;

/** A VI, ready for use. */
export interface Vi {
  readonly vi: VirtualInterface;
  readonly buses: BusMap;
  readonly handover: HandoverMessage;
  readonly interrupt: EventEnd;
  readonly buffers: { readonly address: Address; readonly count: number; readonly bytes: number };
}

/**
 * Asks for the VI.
 * @param releases gets what gives back each thing acquired.
 * @param onInterrupt called when the card has events.
 * @throws when the other half refuses, does not answer, or answers what cannot be.
 */
export async function setUp(
  services: FrontendServices,
  releases: (() => void)[],
  onInterrupt: () => void,
): Promise<Vi> {
  const share = (pages: number): SharedPages => {
    const shared = services.share(pages, 'write');
    releases.push(() => shared.release());
    return shared;
  };
  const bufferPages = await greet(services);
  const transmit = share(pagesOf(SLOTS.transmitCapacity * transmitDescriptor.size));
  const receive = share(pagesOf(SLOTS.receiveCapacity * receiveDescriptor.size));
  const events = share(pagesOf(SLOTS.eventCapacity * event.size));
  const refs = { transmitRefs: transmit.refs, receiveRefs: receive.refs, eventRefs: events.refs };
  const answer = await ask(services, ControlMessage.rings, encodeRings({ ...SLOTS, ...refs }));
  const handover = decodeHandover(answer);
  if (handover.doorbellPort !== 0) {
    const doorbell = services.events.bind(handover.doorbellPort, () => undefined);
    releases.push(() => doorbell.close());
  }
  const registers = services.mapRegisters(handover.registerRef, handover.doorbellPort);
  releases.push(() => registers.unmap());
  const interrupt = services.events.bind(handover.interruptPort, onInterrupt);
  releases.push(() => interrupt.close());

  const buses = new BusMap(services.memory);
  const buffers = share(bufferPages);
  await register(services, buses, buffers, true);
  if (services.transmitMemory !== null)
    await registerTransmitMemory(services, buses, services.transmitMemory);
  const vi = new VirtualInterface(services.memory, registers, {
    ...SLOTS,
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
  };
}

/** A request that must succeed: its answer. */
export async function ask(
  services: FrontendServices,
  type: number,
  payload: Uint8Array = new Uint8Array(0),
  timeoutMs?: number,
): Promise<Uint8Array> {
  const reply = await services.mailbox.request(type, payload, timeoutMs);
  if (!reply.ok)
    throw new Error(`the backend half refused message ${type}; "netaccel explain" shows what it says`);
  return reply.payload;
}

/** Agrees on a version; answers the pages of receive buffers that the guest may use. */
async function greet(services: FrontendServices): Promise<number> {
  const { oldest, newest } = CONTROL_VERSIONS;
  const hello = encodeHello({ oldest, newest, features: 0, bufferPages: RECEIVE_PAGES });
  const reply = await services.mailbox.request(ControlMessage.hello, hello);
  const theirs = decodeHello(reply.payload);
  if (theirs.oldest !== theirs.newest || theirs.newest < oldest || theirs.newest > newest)
    throw new Error(
      `this half speaks versions ${oldest} to ${newest}, the backend half ${theirs.oldest} to ${theirs.newest}; ` +
        'bring both up to date',
    );
  const pages = Math.min(theirs.bufferPages, RECEIVE_PAGES);
  if (!reply.ok || pages === 0)
    throw new Error('the quota has no page for receive buffers; raise limits.bufferPages of the guest');
  return pages;
}

/** Has the card know netfront's memory, so that frames are sent from where they lie. */
async function registerTransmitMemory(
  services: FrontendServices,
  buses: BusMap,
  pages: SharedPages,
): Promise<void> {
  try {
    await register(services, buses, pages, false);
  } catch (error) {
    // Frames in the rest are declined, as not registered; those in what was taken still go.
    services.log('warn', `part of the transmit memory is not registered: ${String(error)}`);
  }
}

/** Has the card know pages, chunk by chunk. */
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
      throw new Error(`${refs.length} pages from ${first} on were sent, the answer is for others`);
    buses.add(pages.address + first * PAGE_BYTES, refs.length, reply.bus);
  }
}

function pagesOf(bytes: number): number {
  return Math.ceil(bytes / PAGE_BYTES);
}
