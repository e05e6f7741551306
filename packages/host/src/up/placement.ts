/**
 * Which guest of a lab is on which host now, and by which number: what the file says at first, and another thing once
 * guests have moved. Names, reports and captures go by this.
 */
import type { LabDescription, LabGuest, LabHost } from '../lab/index.js';

/** A guest where it is. */
export interface PlacedGuest extends LabGuest {
  /** Its domain's number on that host. */
  readonly domid: number;
}

/** A host with the guests that are on it. */
export interface PlacedHost extends LabHost {
  readonly guests: readonly PlacedGuest[];
}

/** A lab with every guest where it is. */
export interface PlacedLab extends LabDescription {
  readonly hosts: readonly PlacedHost[];
}

/** The lab as its file has it: guests are numbered in their order, behind the driver domain. */
export function placeGuests(lab: LabDescription): PlacedLab {
  return {
    ...lab,
    hosts: lab.hosts.map((host) => ({
      ...host,
      guests: host.guests.map((guest, i) => ({ ...guest, domid: i + 1 })),
    })),
  };
}

/** The same lab after a guest has moved. */
export function moveGuest(lab: PlacedLab, name: string, from: string, to: string, domid: number): PlacedLab {
  const guest = lab.hosts.find((host) => host.name === from)?.guests.find((each) => each.name === name);
  if (guest === undefined) return lab;
  return {
    ...lab,
    hosts: lab.hosts.map((host) => ({
      ...host,
      guests: [
        ...host.guests.filter((each) => each !== guest),
        ...(host.name === to ? [{ ...guest, domid }] : []),
      ].sort((a, b) => a.domid - b.domid),
    })),
  };
}
