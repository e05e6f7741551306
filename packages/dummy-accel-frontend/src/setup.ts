/**
 * Bring-up of one device: greets the other half, gives it pages for rings and buffers, and maps the registers of the
 * VI that it gets for them. Runs once, when netfront attaches; nothing here is on the frame path.
 *
 * Whatever is acquired puts its release into `releases` at once, so a failure at any step is undone by running those,
 * last first. The pages stay this guest's own: the other half has them mapped for the device until the VI is gone.
 */
import { PAGE_BYTES } from '@netaccel/core-hooks';
import type { Address, EventEnd, FrontendServices, MailboxReply, SharedPages } from '@netaccel/core-hooks';
import {
  BusMap,
  CONTROL_VERSIONS,
  ControlFeature,
  ControlMessage,
  MAX_MESSAGE_REFS,
  VirtualInterface,
  decodeBuffersReply,
  decodeHandover,
  decodeHello,
  encodeBuffers,
  encodeHello,
  encodeRings,
  receiveDescriptor,
  transmitDescriptor,
  event,
} from '@netaccel/nic-vi';
import type { HandoverMessage, Hello } from '@netaccel/nic-vi';

const TRANSMIT_CAPACITY = 512;
const RECEIVE_CAPACITY = 512;
/** Both rings full, and then some, so that the queue never overflows. */
const EVENT_CAPACITY = 2048;
/** Pages of receive buffers wanted, as in history; the quota may allow fewer. */
const RECEIVE_PAGES = 384;
/** Bytes of a receive buffer: two in a page, and an ordinary frame fits one. */
const RECEIVE_BUFFER_BYTES = 2048;

/** A VI, ready for use. */
export interface Vi {
  readonly vi: VirtualInterface;
  readonly buses: BusMap;
  readonly handover: HandoverMessage;
  readonly interrupt: EventEnd;
  readonly buffers: { readonly address: Address; readonly count: number; readonly bytes: number };
  readonly eventCapacity: number;
}

/**
 * Asks for the VI.
 * @param releases gets what gives back each thing acquired.
 * @param onInterrupt called when the device has events.
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
  const { bufferPages } = await greet(services);
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
  const buffers = share(Math.min(bufferPages, RECEIVE_PAGES));
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

/** A request that must succeed: its answer. */
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
async function greet(services: FrontendServices): Promise<Hello> {
  const { oldest, newest } = CONTROL_VERSIONS;
  const reply: MailboxReply = await services.mailbox.request(
    ControlMessage.hello,
    encodeHello({ oldest, newest, features: ControlFeature.remoteAddresses, bufferPages: RECEIVE_PAGES }),
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
