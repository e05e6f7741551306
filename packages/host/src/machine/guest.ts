/**
 * What runs in a guest: netfront, and the frontend plugins that its host's backend names. Same in every machine.
 */
import { AcceleratorRegistry } from '@netaccel/core-hooks';
import type { FrameSink, FrontendAcceleratorDefinition } from '@netaccel/core-hooks';
import { Netfront } from '@netaccel/netfront';
import type { Domain } from '@netaccel/xen';
import { describePlugins, loadPlugin } from '../plugins.js';

/** How a guest is set up. */
export interface GuestOptions {
  /** The domain. */
  readonly domain: Domain;
  /** Number of its vif. */
  readonly handle: number;
  /** Receives frames. */
  readonly stack: FrameSink;
  /** A stopped transmit queue goes again. */
  readonly onReady: () => void;
  /** Queues that it asks for at most. */
  readonly queues: number;
  /** Folder that plugin names are resolved from. */
  readonly pluginsFrom: string;
  /** Npm name or path of a frontend plugin that stands in for whichever one a backend names. */
  readonly frontend?: string;
  /** Runs work that leaves the thread: a one-thread machine waits for it. */
  readonly during?: <T>(work: Promise<T>) => Promise<T>;
}

/** A guest's programs. */
export class Guest {
  /** Frontend plugins; loaded when a backend names one. */
  readonly registry: AcceleratorRegistry<FrontendAcceleratorDefinition>;
  /** The driver. */
  readonly netfront: Netfront;
  /** Why the last load of a plugin failed, by its name. */
  readonly loadFailures = new Map<string, string>();

  constructor(options: GuestOptions) {
    const during = options.during ?? ((work) => work);
    this.registry = new AcceleratorRegistry<FrontendAcceleratorDefinition>(
      async (name) => {
        const loaded = await during(loadPlugin(options.frontend ?? name, 'frontend', options.pluginsFrom));
        this.registry.register(options.frontend === undefined ? loaded : { ...loaded, name });
        this.loadFailures.delete(name);
      },
      (name, reason) => {
        this.loadFailures.set(name, reason);
        options.domain.log(
          'warn',
          `plugin ${name} was not loaded, the device stays on the slow path: ${reason}`,
        );
      },
    );
    this.netfront = new Netfront({
      domain: options.domain,
      handle: options.handle,
      stack: options.stack,
      registry: this.registry,
      onReady: options.onReady,
      features: { queues: options.queues },
    });
  }

  /** Connects; resolves when frames flow. */
  start(): Promise<void> {
    return this.netfront.start();
  }

  /** State, plain data. */
  describe(): Readonly<Record<string, unknown>> {
    return {
      plugins: describePlugins(this.registry),
      loadFailures: Object.fromEntries(this.loadFailures),
      netfront: this.netfront.describe(),
    };
  }

  /** Closes the vif. */
  stop(): Promise<void> {
    return this.netfront.stop();
  }
}
