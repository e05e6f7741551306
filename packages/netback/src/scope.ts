/**
 * Everything that one plugin got for one vif, so that all of it can be taken back at any moment without the
 * plugin's help. The services (services.ts) put each thing in here as they hand it out.
 */

/** A plugin used a service after it was detached: the plugin's mistake. */
export class DetachedError extends Error {
  /** Stable code for programs. */
  readonly code = 'PLUGIN_DETACHED';
  /** @param service what was asked for. */
  constructor(service: string) {
    super(
      `${service}: the plugin is detached from this vif; nothing may be asked for once remove() was called`,
    );
    this.name = 'DetachedError';
  }
}

/** What was handed out. */
export class PluginScope {
  /** Nothing is handed out any more, and no callback runs. */
  closed = false;
  private readonly releases = new Set<() => void>();

  /**
   * @param failed told when a callback of the plugin throws.
   * @param log told when taking something back fails.
   */
  constructor(
    private readonly failed: (reason: string) => void,
    private readonly log: (message: string) => void,
  ) {}

  /** Things that are out. */
  get size(): number {
    return this.releases.size;
  }

  /** Throws unless the plugin is still attached. */
  check(service: string): void {
    if (this.closed) throw new DetachedError(service);
  }

  /** Puts a thing in; answers what takes it back, at most once, whoever calls. */
  own(release: () => void): () => void {
    const once = () => {
      if (this.releases.delete(once)) release();
    };
    this.releases.add(once);
    return once;
  }

  /** A callback of the plugin that cannot hurt its caller and is not called once detached. */
  guard<Arguments extends unknown[]>(
    what: string,
    callback: (...args: Arguments) => void,
  ): (...args: Arguments) => void {
    return (...args) => {
      if (this.closed) return;
      try {
        callback(...args);
      } catch (error) {
        this.failed(`${what} threw: ${error instanceof Error ? error.message : String(error)}`);
      }
    };
  }

  /** Takes everything back, last first. Idempotent; never throws. */
  close(): void {
    this.closed = true;
    for (const release of [...this.releases].reverse()) {
      try {
        release();
      } catch (error) {
        this.log(`taking back what a plugin held: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
  }
}
