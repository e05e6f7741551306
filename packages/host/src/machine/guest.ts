/**
 * What runs in a guest: netfront, and the frontend plugins that its host's backend names. Same in every machine.
 */
import { AcceleratorRegistry } from '@netaccel/core-hooks';
import type { FrameSink, FrontendAcceleratorDefinition } from '@netaccel/core-hooks';
import { Netfront } from '@netaccel/netfront';
import type { NetfrontState } from '@netaccel/netfront';
import type { NetfrontOptions } from '@netaccel/netfront';
import type { Domain } from '@netaccel/xen';
import { PluginLoadError, describePlugins, loadPlugin } from '../plugins.js';

/** How long a suspend waits for its host to let go of pages. */
const GRANTS_MS = 1000;

/** What of a guest's driver need not be the usual. */
export type DriverSizes = Pick<
  NetfrontOptions,
  'transmitBuffers' | 'receivePages' | 'firstIndex' | 'deadlines' | 'features'
>;

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
  /** Nothing is connected: whoever holds transmit buffers gives them back now. */
  readonly onSuspended?: () => void;
  /** Queues that it asks for at most. */
  readonly queues: number;
  /** Folder that plugin names are resolved from. */
  readonly pluginsFrom: string;
  /** Npm name or path of a frontend plugin that stands in for whichever one a backend names. */
  readonly frontend?: string;
  /** Names of frontend plugins that a backend may have loaded here; any when left out: in a lab both are one user's. */
  readonly allowed?: readonly string[];
  /** The device or its accelerator changed its state. */
  readonly onState?: (state: NetfrontState) => void;
  /** Gives the frontend plugin of that name, in place of an import. */
  readonly load?: (name: string) => Promise<FrontendAcceleratorDefinition>;
  /** Sizes and features of the driver, where they are not the usual ones. */
  readonly netfront?: DriverSizes;
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

  constructor(private readonly options: GuestOptions) {
    const during = options.during ?? ((work) => work);
    this.registry = new AcceleratorRegistry<FrontendAcceleratorDefinition>(
      async (name) => {
        const { allowed } = options;
        if (allowed !== undefined && !allowed.includes(name))
          throw new PluginLoadError(
            'UNRESOLVED',
            `the backend names the plugin ${name}; expected one of: ${allowed.join(', ') || 'none'}`,
          );
        const loaded = await (options.load?.(name) ??
          during(loadPlugin(options.frontend ?? name, 'frontend', options.pluginsFrom)));
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
      ...(options.onState !== undefined && { onState: options.onState }),
      ...options.netfront,
      features: { queues: options.queues, ...options.netfront?.features },
    });
  }

  /** Connects; resolves when frames flow. */
  start(): Promise<void> {
    return this.netfront.start();
  }

  /**
   * Before it is saved or moved: sends what it took, and holds nothing that its host knows of afterwards.
   * @returns frames that it took and could not send.
   */
  async suspend(): Promise<number> {
    const before = this.netfront.statistics().counters.txUnanswered;
    await this.netfront.suspend();
    this.options.onSuspended?.();
    // A page that the backend lets go of late is given back late.
    const { domain } = this.options;
    for (let ms = 0; ms < GRANTS_MS && domain.ledger().grants > 0; ms++)
      await new Promise<void>((resolve) => void domain.loop.after(1, resolve));
    return this.netfront.statistics().counters.txUnanswered - before;
  }

  /**
   * Goes on, wherever it is now; resolves when frames flow.
   * @throws ConnectError when no backend is there in time.
   */
  resume(timeoutMs: number): Promise<void> {
    return this.netfront.resume({ timeoutMs });
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
