/**
 * Who is loaded, and who waits for whom: the registry through which plugins and devices find each other.
 *
 * A device *wants* a plugin by name; a plugin is *registered* by name. Whichever comes first waits, so both
 * load orders end in the same state. A device that no name is given for *follows* all of them: which backend plugin
 * drives a NIC port is for the plugins to say. Names are compared whole (the original compared a prefix, defect 1.8 #4).
 * No lock spans devices: each device is attached and detached by its own driver, at its own pace.
 */
import { checkContract } from './contract.js';

/** What any plugin definition has. */
export interface Definition {
  /** The plugin's npm name. */
  readonly name: string;
  /** Its version. */
  readonly version: string;
  /** The contract it was made for. */
  readonly contract: number;
}

/** A device's side of the registry: how it is told. */
export interface Candidate<D extends Definition> {
  /** A plugin of the wanted name is there: attach to it. The registry does not wait. */
  available(definition: D): void;
  /** It is going away: detach. Resolves when no call is inside the plugin and none can begin; bounded by the driver. */
  unavailable(definition: D): Promise<void>;
}

/** Loads a plugin by name and registers it; rejects with a reason for the operator. */
export type Loader = (name: string) => Promise<void>;

/** Thrown by `register` and `unregister` when they cannot do what was asked. */
export class RegistryError extends Error {
  /**
   * @param code `DUPLICATE` a plugin of that name is registered; `UNKNOWN` none is.
   */
  constructor(
    readonly code: 'DUPLICATE' | 'UNKNOWN',
    message: string,
  ) {
    super(message);
    this.name = 'RegistryError';
  }
}

/**
 * The plugins of one driver in one domain.
 *
 * @example
 * ```ts
 * const registry = new AcceleratorRegistry<FrontendAcceleratorDefinition>();
 * const stop = registry.want('my-nic-frontend', device);   // waits
 * registry.register(plugin);                               // device.available(plugin) is called
 * await registry.unregister('my-nic-frontend');            // device.unavailable(plugin) is awaited; it waits again
 * stop();
 * ```
 */
export class AcceleratorRegistry<D extends Definition> {
  private readonly definitions = new Map<string, D>();
  private readonly candidates = new Map<string, Set<Candidate<D>>>();
  private readonly followers = new Set<Candidate<D>>();
  private readonly loading = new Map<string, Promise<void>>();

  /**
   * @param loader called, outside any device's work, when a device wants a plugin that is not there.
   * @param onLoadFailed told why a load failed; the devices stay on the slow path.
   */
  constructor(
    private readonly loader?: Loader,
    private readonly onLoadFailed: (name: string, reason: string) => void = () => undefined,
  ) {}

  /** Names and versions of what is registered, and how many devices want each. */
  describe(): { name: string; version: string | undefined; devices: number }[] {
    const names = new Set([...this.definitions.keys(), ...this.candidates.keys()]);
    return [...names].map((name) => ({
      name,
      version: this.definitions.get(name)?.version,
      devices: this.candidates.get(name)?.size ?? 0,
    }));
  }

  /** The definition registered under exactly this name. */
  get(name: string): D | undefined {
    return this.definitions.get(name);
  }

  /** Every registered definition, oldest first. */
  all(): D[] {
    return [...this.definitions.values()];
  }

  /**
   * A plugin is loaded: every device that waits for it is told, in the order in which they came, then every follower.
   * @throws ContractMismatchError, {@link RegistryError} `DUPLICATE`.
   */
  register(definition: D): void {
    checkContract(definition.name, definition.contract);
    if (this.definitions.has(definition.name))
      throw new RegistryError(
        'DUPLICATE',
        `${definition.name} is registered already (version ${this.definitions.get(definition.name)!.version}); ` +
          `unload it before another version is loaded`,
      );
    this.definitions.set(definition.name, definition);
    for (const candidate of [...(this.candidates.get(definition.name) ?? []), ...this.followers])
      candidate.available(definition);
  }

  /**
   * A plugin goes: every device that wants or follows it detaches, all at the same time, and waits for its return.
   * Resolves when the plugin's code can not be entered any more.
   * @throws RegistryError `UNKNOWN`.
   */
  async unregister(name: string): Promise<void> {
    const definition = this.definitions.get(name);
    if (definition === undefined)
      throw new RegistryError(
        'UNKNOWN',
        `no plugin ${name} is registered; registered: ${[...this.definitions.keys()].join(', ') || 'none'}`,
      );
    this.definitions.delete(name);
    await Promise.all(
      [...(this.candidates.get(name) ?? []), ...this.followers].map((each) => each.unavailable(definition)),
    );
  }

  /**
   * A device wants the plugin `name`. It is told at once if the plugin is there; otherwise a load is asked for
   * and the device waits. Ends with the function returned, which tells the device nothing.
   */
  want(name: string, candidate: Candidate<D>): () => void {
    let waiting = this.candidates.get(name);
    if (waiting === undefined) this.candidates.set(name, (waiting = new Set()));
    waiting.add(candidate);
    const definition = this.definitions.get(name);
    if (definition !== undefined) candidate.available(definition);
    else this.load(name);
    return () => {
      const set = this.candidates.get(name);
      if (set?.delete(candidate) === true && set.size === 0) this.candidates.delete(name);
    };
  }

  /** A device is told each plugin that is registered from now on, and each that goes. Ends with the function returned. */
  follow(candidate: Candidate<D>): () => void {
    this.followers.add(candidate);
    return () => void this.followers.delete(candidate);
  }

  private load(name: string): void {
    if (this.loader === undefined || this.loading.has(name)) return;
    const load = this.loader(name)
      .catch((error: unknown) => {
        this.onLoadFailed(name, error instanceof Error ? error.message : String(error));
      })
      .finally(() => this.loading.delete(name));
    this.loading.set(name, load);
  }
}
