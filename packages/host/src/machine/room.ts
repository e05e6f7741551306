/**
 * Whether a host has room for one guest more: asked before anything is begun, so that a guest which cannot be taken
 * in keeps running where it is. That a NIC has no slice left is no reason: such a guest goes by the slow path.
 */
import { MigrationError } from './migration.js';

/** Pages that netback takes for a vif, and for each of its queues. */
const VIF_PAGES = 512;
const QUEUE_PAGES = 544;
/** Pages of a guest that netback maps for each queue, and at once for the vif. */
const QUEUE_MAPPINGS = 2;
const VIF_MAPPINGS = 8;
/** Pages that an accelerator's rings and mailbox take besides its packet buffers. */
const PLUGIN_PAGES = 128;
/** What the backend plugin lets a guest have when its limits are not written. */
const BUFFER_PAGES = 384;

/** What a guest needs. */
export interface GuestNeeds {
  readonly queues: number;
  readonly accel: string | null;
  readonly limits: { readonly bufferPages: number } | null;
}

/** What a host has left. */
export interface Room {
  /** Pages of guests that its driver domain can still map. */
  readonly mappings: number;
  /** Pages of memory. */
  readonly pages: number;
}

/** @throws MigrationError `NO_ROOM`. */
export function checkRoom(guest: string, host: string, needs: GuestNeeds, room: Room): void {
  const fast = needs.accel === null ? 0 : (needs.limits?.bufferPages ?? BUFFER_PAGES) + PLUGIN_PAGES;
  const mappings = VIF_MAPPINGS + needs.queues * QUEUE_MAPPINGS + fast;
  const pages = VIF_PAGES + needs.queues * QUEUE_PAGES;
  const refuse = (what: string, expected: number, seen: number): never => {
    throw new MigrationError(
      'NO_ROOM',
      `expected room for ${expected} ${what} of ${guest} on ${host}, saw ${seen}; nothing was moved: ` +
        'move another guest away first, or give the guest smaller limits',
    );
  };
  if (mappings > room.mappings) refuse('mapped pages', mappings, room.mappings);
  if (pages > room.pages) refuse('pages of memory', pages, room.pages);
}
