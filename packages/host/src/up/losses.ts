/**
 * Where frames of a vif were lost: every counter on its way that names a loss and is not zero, from the guest's TAP
 * to the wire. Nothing is dropped without a counter, so what is not here was not lost here.
 */
import { portCounters, viCounters, wireCounters } from '@netaccel/nic-vi/model';
import type { DriverDescription, GuestDescription, VifDescription } from './described.js';

/** One such counter. */
export interface LossReport {
  /** Whose counter it is. */
  readonly where: string;
  /** What was lost, in words where there are some. */
  readonly what: string;
  readonly frames: number;
}

type Counters = Readonly<Record<string, unknown>>;
type Words = Readonly<Record<string, string>>;

const VI_LOSSES = only(viCounters, [
  'txNoLink',
  'txSpoofed',
  'txErrors',
  'txDropped',
  'rxNoDescriptor',
  'rxNoEventSpace',
  'rxRights',
  'rxChanged',
  'rxChecksumBad',
]);
const PORT_LOSSES = only(portCounters, [
  'txNoLink',
  'rxUnmatched',
  'rxTooShort',
  'rxNoVi',
  'rxTooLong',
  'rxAbandoned',
]);
const WIRE_LOSSES = only(wireCounters, ['tooLong', 'changed', 'dropped', 'corrupted']);
const NETFRONT_LOSSES: Words = {
  txErrors: 'frames that the backend answered with an error',
  txDropped: 'frames that the backend answered as dropped',
  txBadLength: 'frames of a length that cannot be sent',
  txUnsupported: 'frames of a kind that the backend does not take',
  txUnanswered: 'frames on the ring when the backend went',
  rxErrors: 'packets that the backend answered with an error',
  rxMalformed: 'packets that cannot be',
  rxBadExtra: 'packets with extra information that cannot be',
  rxBadLength: 'packets of a length that cannot be',
  rxNoBuffer: 'packets without a private buffer left for them',
  rxUnread: 'packets that the backend put on a ring after the connection was closed',
  fastTakenBack: 'frames that a plugin took and never completed',
  fastOverrun: 'frames that a plugin delivered beyond all bounds',
};
const TAP_LOSSES: Words = {
  rxTapFull: "frames that the guest's kernel had no room for",
  rxRefused: 'frames with headers that do not bear their offload',
  writeRefused: "frames that the guest's kernel refused",
  readTooLarge: 'frames of the guest that were too large',
};
const NIC_PORT_LOSSES: Words = {
  txBacklogFull: 'frames dropped because the queue to the wire was full',
  txUnsendable: 'frames of a shape that the NIC does not send',
  txReset: 'frames that the NIC had when it was reset',
};

/** What a guest's own domain lost. */
export function guestLosses({ netfront, tap }: GuestDescription): LossReport[] {
  return [
    ...named('guest, TAP', TAP_LOSSES, tap ?? {}),
    ...named('guest, netfront', NETFRONT_LOSSES, netfront.statistics.counters),
  ];
}

/** What netback lost of one vif. */
export function vifLosses({ statistics }: VifDescription): LossReport[] {
  const reasons = (direction: string, counts: Counters): LossReport[] =>
    Object.entries(counts).flatMap(([reason, frames]) =>
      typeof frames === 'number' && frames > 0
        ? [{ where: `netback, ${direction}`, what: reason, frames }]
        : [],
    );
  return [
    ...reasons('from the guest', statistics.txErrors),
    ...reasons('to the guest', statistics.rxDropped),
  ];
}

/** What the driver domain's NIC ports lost. */
export function portLosses(host: string, { ports }: DriverDescription): LossReport[] {
  return ports.flatMap(({ name, port, driver, vi }) => [
    ...named(`${host}.${name}, driver`, NIC_PORT_LOSSES, driver),
    ...named(`${host}.${name}, driver's VI`, VI_LOSSES, vi),
    ...named(`${host}.${name}`, PORT_LOSSES, port),
  ]);
}

/** What a VI lost. */
export function viLosses(where: string, counters: Counters): LossReport[] {
  return named(where, VI_LOSSES, counters);
}

/** What a wire lost in one direction. */
export function wireLosses(from: string, counters: Counters): LossReport[] {
  return named(`wire from ${from}`, WIRE_LOSSES, counters);
}

function named(where: string, words: Words, counters: Counters): LossReport[] {
  return Object.entries(words).flatMap(([name, what]) => {
    const frames = counters[name];
    return typeof frames === 'number' && frames > 0 ? [{ where, what, frames }] : [];
  });
}

function only<Name extends string>(words: Readonly<Record<Name, string>>, names: readonly Name[]): Words {
  return Object.fromEntries(names.map((name) => [name, words[name]]));
}
