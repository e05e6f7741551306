/**
 * What the backend of one vif says of itself in the store: its state, and whether its link is up. Owned by the device,
 * which is told of each change; the frame path never looks here.
 */
import { LINGER_MS, XenbusState, watchState } from '@netaccel/xen';
import type { Domain, XenbusStateValue } from '@netaccel/xen';
import type { Watch } from '@netaccel/xen/store';
import { parseKey } from './features.js';
import { messageOf } from './hooks.js';
import { watchValue } from './watch-value.js';

/** Who is told. */
export interface BackendWatchHandler {
  /** The backend went to another state. */
  onState(): void;
  /** Its link went up or down. */
  onLink(): void;
  /** The vif's own key `mtu`, which the toolstack writes; null without one. */
  onMtu(value: string | null): void;
  /** The store could not be read. */
  onError(message: string): void;
}

/** The backend, as it is in the store. */
export class BackendWatch {
  /** Its state. */
  state: XenbusStateValue = XenbusState.Unknown;
  /** Whether its link is up: as long as it does not say otherwise. */
  linkUp = true;
  private closingSince: number | null = null;
  private watches: Watch[] = [];

  /**
   * @param domain whose store is watched.
   * @param handler who is told.
   */
  constructor(
    private readonly domain: Domain,
    private readonly handler: BackendWatchHandler,
  ) {}

  /** Whether it takes no more from the device, and owes it nothing. */
  get isGone(): boolean {
    const { state } = this;
    return state === XenbusState.Closing || state === XenbusState.Closed || state === XenbusState.Unknown;
  }

  /** Milliseconds that a closing backend still has to come back; 0 when its time is over. Called while it closes. */
  get timeToReturn(): number {
    const now = this.domain.loop.now();
    this.closingSince ??= now;
    return Math.max(0, LINGER_MS - (now - this.closingSince));
  }

  /**
   * Begins to watch.
   * @param path the vif's own directory.
   * @param backendPath the backend's.
   */
  async begin(path: string, backendPath: string): Promise<void> {
    const { domain, handler, watches } = this;
    const complain = (error: unknown): void =>
      handler.onError(`watching ${backendPath}: ${messageOf(error)}`);
    const seen = (state: XenbusStateValue): void => {
      this.state = state;
      if (state !== XenbusState.Closing) this.closingSince = null;
      handler.onState();
    };
    const link = (value: string | null): void => {
      this.linkUp = parseKey(value, 1) !== 0;
      handler.onLink();
    };
    watches.push(await watchState(domain.store, backendPath, seen, complain));
    watches.push(await watchValue(domain.store, `${backendPath}/carrier`, link, complain));
    watches.push(await watchValue(domain.store, `${path}/mtu`, (value) => handler.onMtu(value), complain));
  }

  /** Ends that. */
  async end(): Promise<void> {
    await Promise.all(this.watches.splice(0).map((watch) => watch.remove()));
  }
}
