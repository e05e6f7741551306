/**
 * How large a lab's memory must be, from what its domains allocate. Pages that nobody touches cost nothing, so
 * this errs on the large side.
 */
import { PAGE_BYTES } from '@netaccel/core-hooks';
import { nicStateBytes, wireStateBytes } from '@netaccel/nic-vi/model';
import type { NicConfig } from '@netaccel/nic-vi/model';
import { defaultShape } from '@netaccel/xen/sim';
import type { LabShape } from '@netaccel/xen/sim';
import type { LabDescription, LabGuest, LabHost } from '../lab/index.js';
import { wireConfig } from '../machine/hardware.js';

/** Pages that a NIC port's driver takes: receive buffers, rings, registers. */
const PORT_PAGES = 1100;
/** Pages of a driver domain's own interface. */
const OWN_INTERFACE_PAGES = 1700;
/** Pages that netback takes for a vif, and for each of its queues. */
const VIF_PAGES = 512;
const VIF_QUEUE_PAGES = 256;
/** Netfront's buffers: small ones, large ones, a receive ring of each queue, and what a plugin's rings take. */
const SMALL_BUFFERS = 512;
const LARGE_PAGES = 320;
const RECEIVE_PAGES = 352;
const PLUGIN_PAGES = 128;
/** Slack, of the whole. */
const SLACK = 1.25;
/** What a lab's memory has at most: addresses are below 2^32. */
const MOST_PAGES = 0x100000;
const GRANTS_PER_PAGE = 512;
/** Pages of a domain's tables besides ports and grants. */
const TABLE_PAGES = 64;
/** Pages of guests that a host can map at most for guests that move in. */
const MOST_SPARE_MAPPINGS = 16_384;
/** Domains of a lab at most: an owner is a byte. */
export const MOST_DOMAINS = 254;

/** VIs that the driver domain needs for itself, and what a guest may need. */
const SPARE_VIS = 16;
/** Filters of each port that the driver domain has for itself. */
const OWN_FILTERS = 2;
/** Buffer table entries that the driver domain needs for itself: everything it sends from or receives to. */
const OWN_BUFFER_PAGES = 2 * OWN_INTERFACE_PAGES;

/** A host's NIC. */
export function nicConfig(lab: LabDescription, host: LabHost, number: number): NicConfig {
  const { ports, filters, bufferPages } = host.nic;
  const mtus = [
    ...host.guests.map(({ mtu }) => mtu),
    host.driverDomain?.mtu ?? 0,
    ...lab.wires.filter(({ ends }) => ends.some((end) => end.host === host.name)).map(({ mtu }) => mtu),
  ];
  const queues = host.guests.reduce((sum, guest) => sum + guest.queues, 0);
  return {
    ports: ports.length,
    vis: ports.length + queues + SPARE_VIS,
    filters: filters + OWN_FILTERS,
    bufferPages: bufferPages + OWN_BUFFER_PAGES + ports.length * PORT_PAGES + host.guests.length * VIF_PAGES,
    mtu: Math.max(1500, ...mtus),
    macs: ports.map((_, port) => [2, 0x78, 0x65, number >>> 8, number & 0xff, port]),
  };
}

function guestPages({ mtu, queues, limits }: LabGuest): number {
  const small = SMALL_BUFFERS * Math.max(1, Math.ceil((mtu + 128) / PAGE_BYTES));
  return small + LARGE_PAGES + queues * RECEIVE_PAGES + limits.bufferPages + PLUGIN_PAGES;
}

function hostPages(lab: LabDescription, host: LabHost): number {
  const nic = Math.ceil(nicStateBytes(nicConfig(lab, host, 0)) / PAGE_BYTES);
  const vifs = host.guests.reduce((sum, { queues }) => sum + VIF_PAGES + queues * VIF_QUEUE_PAGES, 0);
  const guests = host.guests.reduce((sum, guest) => sum + guestPages(guest), 0);
  return nic + OWN_INTERFACE_PAGES + host.nic.ports.length * PORT_PAGES + vifs + guests;
}

/** The sizes of a lab's memory. */
export function labShape(lab: LabDescription): LabShape {
  const domains = lab.hosts.reduce((sum, host) => sum + 1 + host.guests.length, 0);
  const queues = Math.max(1, ...lab.hosts.flatMap((host) => host.guests.map((guest) => guest.queues)));
  const perHost = lab.hosts.map(({ guests }) =>
    guests.reduce((sum, guest) => sum + guest.limits.bufferPages + guest.queues * 4 + PLUGIN_PAGES, 64),
  );
  // Guests move: in a small lab any host may take all of them in.
  const everywhere = perHost.reduce((sum, each) => sum + each, 0);
  const mappings = Math.max(defaultShape.mappings, ...perHost, Math.min(MOST_SPARE_MAPPINGS, everywhere));
  const grants = Math.max(
    defaultShape.grantPages * GRANTS_PER_PAGE,
    ...lab.hosts.flatMap((host) => host.guests.map((guest) => guestPages(guest) + queues * RECEIVE_PAGES)),
  );
  const grantPages = Math.min(1024, Math.ceil(grants / GRANTS_PER_PAGE));
  const tables = domains * (TABLE_PAGES + grantPages * 3 + Math.ceil((mappings * 8) / PAGE_BYTES));
  const wires = lab.wires.reduce(
    (sum, { mtu }) => sum + Math.ceil(wireStateBytes(wireConfig(mtu)) / PAGE_BYTES),
    0,
  );
  const used = tables + wires + lab.hosts.reduce((sum, host) => sum + hostPages(lab, host), 0);
  return {
    ...defaultShape,
    pages: Math.min(MOST_PAGES, Math.max(defaultShape.pages, Math.ceil(used * SLACK))),
    domains: Math.min(MOST_DOMAINS, Math.max(defaultShape.domains, domains)),
    grantPages,
    mappings,
  };
}

/** Whether the lab fits into one memory at all. */
export function fits(lab: LabDescription): boolean {
  const domains = lab.hosts.reduce((sum, host) => sum + 1 + host.guests.length, 0);
  return domains <= MOST_DOMAINS && labShape(lab).pages < MOST_PAGES;
}
