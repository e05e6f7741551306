/**
 * The lives of a guest's frontend: one from the opening of the domain until it is restored, then the next.
 *
 * A restored guest has another number, and what it granted, bound and watched is void, whatever state the vif was in.
 * So everything is let go and made anew, but for the interface, which the guest's connections need.
 */
import type { NativeCounters } from '@netaccel/xen/native';
import { XenFrontend } from './frontend.js';
import type { ConnectedVif, XenFrontendOptions } from './frontend.js';

/** What a life has of its domain. */
export type LivingDomain = XenFrontendOptions['domain'] & {
  readonly counters: Readonly<NativeCounters>;
  close(): void;
};

/** How lives are made. */
export interface LivesOptions {
  /** Opens the domain as it is now; `onRestored` is called once when it is no more. */
  readonly open: (onRestored: () => void) => Promise<LivingDomain>;
  /** What the frontend in that domain is made with. */
  readonly frontend: (domain: LivingDomain) => XenFrontendOptions;
  /** It is connected: the interface is made what the vif is. */
  readonly onConnected: (vif: ConnectedVif) => void;
  /** Takes a line of the log. */
  readonly record: (line: { readonly event: string } & Readonly<Record<string, unknown>>) => void;
}

/**
 * Serves the vif through all lives until `told` is aborted.
 * @throws NativeError, DeviceError, ConnectError, StoreError: what ended a life that was not restored.
 */
export async function serveLives(options: LivesOptions, told: AbortSignal): Promise<void> {
  while (!told.aborted) await live(options, told);
}

async function live(options: LivesOptions, told: AbortSignal): Promise<void> {
  const { record } = options;
  const restored = new AbortController();
  const over = AbortSignal.any([told, restored.signal]);
  const domain = await options.open(() => {
    restored.abort();
  });
  try {
    const made = options.frontend(domain);
    const where = { domain: domain.id, vif: made.handle, tap: made.device.name };
    const frontend = new XenFrontend(made);
    try {
      const vif = await frontend.start(over);
      options.onConnected(vif);
      record({ event: 'started', ...where, ...vif });
      await whenAborted(over);
    } catch (error) {
      // What failed was part of a life that is over.
      if (!restored.signal.aborted) throw error;
    } finally {
      if (restored.signal.aborted) record({ event: 'restored', ...where });
      record({ event: 'stopping', counters: { ...domain.counters }, state: frontend.describe() });
      await frontend.stop();
      record({ event: 'stopped', ledger: domain.ledger() });
    }
  } finally {
    domain.close();
  }
}

function whenAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      resolve();
    };
    if (signal.aborted) done();
    else signal.addEventListener('abort', done, { once: true });
  });
}
