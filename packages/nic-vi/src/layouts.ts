/**
 * The VI as hardware sees it: register page, descriptors, events. No offset, bit or code of the interface
 * is written anywhere else; the VI and the NIC model both import these tables.
 *
 * Words are in the machine's byte order (little-endian on x86), as a device on its own bus has them.
 */
import { layout, type Field } from './layout.js';

/**
 * The register page of one VI. The words the driver writes and the words the NIC writes are kept on
 * different cache lines. Indices run free in 32 bits.
 */
export const registers = layout('registers', 4096, 'One page for each VI; the guest maps it.', {
  transmitProducer: [0x00, 0, 32, 'driver', 'transmit doorbell: index after the last descriptor written'],
  receiveProducer: [0x04, 0, 32, 'driver', 'index after the last receive descriptor written'],
  eventConsumer: [0x08, 0, 32, 'driver', 'index of the first event that is not consumed'],
  interruptArm: [0x0c, 0, 1, 'driver', '1 arms the interrupt; the NIC clears it when it raises it'],
  moderation: [0x10, 0, 16, 'driver', 'least microseconds from an event to its interrupt'],
  transmitRestart: [
    0x14,
    0,
    32,
    'driver',
    'index from which a halted queue goes on; the NIC sets it when it halts',
  ],
  eventProducer: [0x40, 0, 32, 'nic', 'index after the last event written'],
  generation: [0x44, 0, 32, 'nic', 'the generation of the NIC that this VI belongs to'],
  link: [0x48, 0, 1, 'nic', '1 while the port has link'],
  live: [0x4c, 0, 1, 'nic', '0 once the VI was freed or the NIC was reset'],
});

/** A transmit descriptor: one fragment of a frame. */
export const transmitDescriptor = layout('transmit descriptor', 16, 'One fragment of a frame to send.', {
  address: [0, 0, 32, 'driver', 'bus address of the first byte'],
  length: [4, 0, 20, 'driver', 'bytes of the fragment, at least 1'],
  continues: [4, 24, 1, 'driver', 'the next descriptor has more of this frame'],
  checksum: [4, 25, 1, 'driver', 'fill in the TCP or UDP checksum (first descriptor of a frame)'],
  segment: [4, 26, 1, 'driver', 'cut TCP into segments, IPv4 or IPv6 (first descriptor of a frame)'],
  segmentBytes: [8, 0, 16, 'driver', 'payload bytes of each segment (first descriptor of a frame)'],
});

/** A receive descriptor: one buffer. */
export const receiveDescriptor = layout('receive descriptor', 8, 'One buffer for received bytes.', {
  address: [0, 0, 32, 'driver', 'bus address of the first byte'],
  length: [4, 0, 16, 'driver', 'bytes of the buffer, at least 64'],
});

/** An event. */
export const event = layout('event', 16, 'What the NIC tells the driver.', {
  type: [0, 0, 4, 'nic', 'EventType'],
  start: [0, 4, 1, 'nic', 'receive: first buffer of a frame'],
  continues: [0, 5, 1, 'nic', 'receive: the next buffer has more of this frame'],
  checksumGood: [0, 6, 1, 'nic', 'receive: the TCP or UDP checksum was verified'],
  checksumBad: [0, 7, 1, 'nic', 'receive: the TCP, UDP or IPv4 header checksum is wrong'],
  checksumBlank: [0, 8, 1, 'nic', 'receive: as good, but the field holds only the pseudo header sum'],
  ipv4: [0, 9, 1, 'nic', 'receive: IPv4'],
  ipv6: [0, 10, 1, 'nic', 'receive: IPv6'],
  tcp: [0, 11, 1, 'nic', 'receive: TCP, not a fragment'],
  udp: [0, 12, 1, 'nic', 'receive: UDP, not a fragment'],
  fragment: [0, 13, 1, 'nic', 'receive: an IP fragment'],
  vlan: [0, 14, 1, 'nic', 'receive: has a VLAN tag'],
  multicast: [0, 15, 1, 'nic', 'receive: the destination is a group'],
  reason: [
    0,
    16,
    8,
    'nic',
    'receiveDiscard: DiscardReason; transmitError: TransmitError; link: 1 is up; time: ClockState',
  ],
  position: [
    4,
    0,
    32,
    'nic',
    'receive: index of the descriptor; transmit: index after the last one done; time: nanoseconds',
  ],
  bytes: [8, 0, 20, 'nic', 'receive: bytes in this buffer'],
  detail: [12, 0, 32, 'nic', 'receive: filter id, 0 for none; software: the value put; time: seconds'],
});

/** What an event is about. */
export const EventType = {
  /** A buffer was filled. */
  receive: 1,
  /** A buffer was consumed and holds nothing of use. */
  receiveDiscard: 2,
  /** Descriptors up to `position` are done. */
  transmit: 3,
  /** The descriptors of the frame at `position` cannot be sent; the transmit queue stopped there. */
  transmitError: 4,
  /** Put by software: a marker. */
  software: 5,
  /** The event queue was full; events after this one were lost and counted. */
  overflow: 6,
  /** The NIC was reset: this VI, its filters and its buffers are gone. */
  reset: 7,
  /** The port's link changed. */
  link: 8,
  /** When what the events after this one tell of happened, by the NIC's clock. Only if the VI asked for it. */
  time: 9,
} as const;
/** One of {@link EventType}. */
export type EventType = (typeof EventType)[keyof typeof EventType];

/** What the NIC's clock is worth, as bits of a `time` event's reason (ef_vi's sync flags). */
export const ClockState = {
  /** It has been set. */
  set: 1,
  /** It follows its source. */
  inSync: 2,
} as const;

/** Why a buffer was consumed without a frame. */
export const DiscardReason = {
  /** A receive descriptor named memory that the VI does not own, or has a bad length. */
  rights: 1,
  /** The frame changed while it was copied: what arrived is not what was judged. */
  changed: 2,
} as const;

/** Why a frame could not be sent, and the transmit queue stopped. */
export const TransmitError = {
  /** A descriptor named memory that the VI does not own. */
  rights: 1,
  /** A descriptor with zero length, a chain that never ends or has too many fragments. */
  descriptor: 2,
  /** More bytes than the port sends in one frame. */
  tooLong: 3,
  /** Asked to cut what is not an unfragmented TCP frame, or with a segment size that cannot be. */
  segmentation: 4,
} as const;

/** Names of the codes above, for counters and people. */
export const eventNames = invert(EventType);
/** Names of {@link DiscardReason}. */
export const discardNames = invert(DiscardReason);
/** Names of {@link TransmitError}. */
export const transmitErrorNames = invert(TransmitError);

function invert(codes: Readonly<Record<string, number>>): readonly (string | undefined)[] {
  const names: (string | undefined)[] = [];
  for (const [name, code] of Object.entries(codes)) names[code] = name;
  return names;
}

/** Completed descriptors that one transmit event reports at most, so that a caller's array has a size. */
export const TRANSMIT_BATCH = 64;
/** Fragments of one frame at most, after memory was walked page by page. */
export const MAX_FRAGMENTS = 64;
/** Bytes of one transmit, before cutting, at most: an IP packet's 65535 and Ethernet with a VLAN tag. */
export const MAX_TRANSMIT_BYTES = 0xffff + 18;
/** Least payload bytes of a segment that is cut or joined: what Linux takes for a sender's (`TCP_MIN_SND_MSS`). */
export const MIN_SEGMENT_BYTES = 48;
/** Least bytes of a receive buffer. */
export const MIN_RECEIVE_BUFFER_BYTES = 64;
/** How big one ring can be. */
export interface RingLimit {
  /** Descriptors or events at most. */
  readonly slots: number;
  /** Pages at most. */
  readonly pages: number;
}

/** How big each ring can be. */
export const RING_LIMITS: Readonly<Record<'transmit' | 'receive' | 'event', RingLimit>> = {
  transmit: { slots: 2048, pages: 8 },
  receive: { slots: 4096, pages: 8 },
  event: { slots: 4096, pages: 16 },
};

/** Every structure above, for the documentation's tables. */
export const viLayouts = [registers, transmitDescriptor, receiveDescriptor, event] as const;

const r = registers.fields;
/** Byte offsets of the registers, for `Registers.write32` and `read32`. */
export const Register: Readonly<Record<keyof (typeof registers)['fields'], number>> = {
  transmitProducer: r.transmitProducer.offset,
  receiveProducer: r.receiveProducer.offset,
  eventConsumer: r.eventConsumer.offset,
  interruptArm: r.interruptArm.offset,
  moderation: r.moderation.offset,
  transmitRestart: r.transmitRestart.offset,
  eventProducer: r.eventProducer.offset,
  generation: r.generation.offset,
  link: r.link.offset,
  live: r.live.offset,
};

/** The bits of an event's first word, in place: test them on what `EventBatch.flags` holds. */
export const EventFlag = bitsOf(event.fields, [
  'start',
  'continues',
  'checksumGood',
  'checksumBad',
  'checksumBlank',
  'ipv4',
  'ipv6',
  'tcp',
  'udp',
  'fragment',
  'vlan',
  'multicast',
]);
/** The bits of a transmit descriptor's second word, in place: what `transmitInit` takes as flags. */
export const TransmitFlag = bitsOf(transmitDescriptor.fields, ['continues', 'checksum', 'segment']);

function bitsOf<Name extends string>(
  fields: Readonly<Record<string, Field>>,
  names: readonly Name[],
): Readonly<Record<Name, number>> {
  const bits = {} as Record<Name, number>;
  for (const name of names) bits[name] = fields[name]!.mask << fields[name]!.bit;
  return bits;
}
