/**
 * How long the drivers wait for the other half on a real host. Longer than in a lab: the processes of two domains and
 * a store that everybody uses may each be held up for seconds, and meanwhile the slow path carries every frame.
 */
import type { Limits } from '@netaccel/netback';
import type { AcceleratorDeadlines } from '@netaccel/netfront';

const PROBE_MS = 60_000;
const REQUEST_MS = 20_000;
const TEARDOWN_MS = 10_000;

/** The backend's. */
export const BACKEND_PATIENCE: Partial<Limits> = {
  probeTimeoutMs: PROBE_MS,
  requestTimeoutMs: REQUEST_MS,
  teardownTimeoutMs: TEARDOWN_MS,
};

/** The frontend's. */
export const FRONTEND_PATIENCE: Partial<AcceleratorDeadlines> = {
  probeMs: PROBE_MS,
  requestMs: REQUEST_MS,
  quiesceMs: TEARDOWN_MS,
  removeMs: TEARDOWN_MS,
  stallMs: 2 * TEARDOWN_MS,
};
