/** What domains say of themselves, as far as reports read it: the parts of `describe()` that are relied on. */
import type { LabEventChannels } from '../lab/index.js';
import type { DomainWorker } from '../machine/worker-handle.js';
import type { PluginDescription } from '../plugins.js';

/** What a domain answered, or why it did not. */
export type Answer<T> = { readonly said: T } | { readonly silent: string };

/** What a domain says of itself, or why it says nothing. */
export async function describe<T>(worker: DomainWorker | undefined): Promise<Answer<T>> {
  if (worker === undefined) return { silent: 'it was not started' };
  try {
    return { said: (await worker.ask('describe')) as T };
  } catch (error) {
    return { silent: error instanceof Error ? error.message : String(error) };
  }
}

/** A guest's worker. */
export interface GuestDescription {
  readonly plugins: readonly PluginDescription[];
  readonly loadFailures: Readonly<Record<string, string>>;
  readonly eventChannels: LabEventChannels;
  readonly netfront: NetfrontDescription;
  readonly tap: Readonly<Record<string, unknown>> | null;
  readonly replay: Readonly<Record<string, number>> | null;
}

/** A netfront. */
export interface NetfrontDescription {
  readonly frontend: string;
  readonly backend: string;
  readonly carrier: boolean;
  readonly reason: string | null;
  readonly agreed: Readonly<Record<string, unknown>> | null;
  readonly accelerator: {
    readonly state: string;
    readonly named: string | null;
    readonly loaded: string | null;
    readonly reason: string | null;
    readonly plugin?: Readonly<Record<string, unknown>>;
  } | null;
  readonly statistics: {
    readonly accelerated: { txFrames: number; txBytes: number; rxFrames: number; rxBytes: number };
    readonly declines: Readonly<Record<string, number>>;
    readonly txErrors: number;
    readonly rxErrors: number;
    readonly txDropped: number;
    readonly rxDropped: number;
    readonly counters: Readonly<Record<string, number>>;
  };
}

/** A driver domain's worker. */
export interface DriverDescription {
  readonly plugins: readonly PluginDescription[];
  readonly bridge: {
    readonly ports: readonly ({ readonly name: string } & Readonly<Record<string, number>>)[];
    readonly addresses: readonly { readonly mac: string; readonly port: string; readonly ageMs: number }[];
  };
  readonly ports: readonly {
    readonly name: string;
    readonly linkUp: boolean;
    /** Number of the driver's VI; null while it has none, after a reset. */
    readonly viId: number | null;
    /** Counters of the port, of its driver, and of the driver's VI. */
    readonly port: Readonly<Record<string, number>>;
    readonly driver: Readonly<Record<string, number>>;
    readonly vi: Readonly<Record<string, number>>;
  }[];
  readonly netback: { readonly vifs: readonly VifDescription[] };
}

/** A vif of a netback. */
export interface VifDescription {
  readonly guest: number;
  readonly handle: number;
  readonly state: string;
  readonly reason: string | null;
  readonly queues: number;
  readonly rateBytesPerSecond: number;
  /** The only IP addresses that the guest may send from, or null. */
  readonly addresses: readonly string[] | null;
  readonly statistics: {
    readonly txErrors: Readonly<Record<string, number>>;
    readonly rxDropped: Readonly<Record<string, number>>;
  };
  readonly accelerator: {
    readonly port: string | null;
    readonly plugin: string | null;
    readonly version: string | null;
    readonly state: string;
    readonly frontendHalf: string;
    readonly reason: string | null;
    readonly detail: Readonly<Record<string, unknown>> | null;
  } | null;
}
