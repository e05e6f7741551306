/**
 * A virtual interface on a NIC: its layout tables, the driver's side of it, its control interface, the messages
 * that hand one over, and what a plugin needs beside it: header parsing, filters, receive merging, and both halves of
 * one but for its own choices.
 *
 * @packageDocumentation
 */
export * from './control.js';
export * from './events.js';
export * from './filter.js';
export * from './headers.js';
export * from './layout.js';
export * from './layouts.js';
export * from './merge.js';
export * from './messages.js';
export type { ViRings } from './rings.js';
export * from './toeplitz.js';
export * from './vi.js';
export * from './bus-map.js';
export * from './frame-vi.js';
export * from './mac-table.js';
export * from './own-addresses.js';
export * from './protocol.js';
export * from './answer.js';
export * from './filter-fences.js';
export * from './receive-gate.js';
export * from './flow-table.js';
export * from './outbox.js';
export * from './sightings.js';
export * from './guest-vi.js';
export * from './neighbours.js';
export * from './set-up.js';
export * from './vi-backend.js';
export * from './vi-frontend.js';
export * from './vi-receive.js';
export * from './vi-server.js';
