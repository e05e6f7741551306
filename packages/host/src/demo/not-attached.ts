/** The demo's plugin did not attach: what each guest and its driver domain say about it. */

/** Where one guest stands. */
export interface GuestStanding {
  readonly guest: string;
  /** Its accelerator's state. */
  readonly state: string;
  /** Why its half of the plugin could not be loaded; null when it could, or was not asked for. */
  readonly loadFailure: string | null;
  /** What netfront and the driver domain's netback say, if they say something. */
  readonly reasons: readonly (string | null | undefined)[];
}

/** The demo cannot go on without its plugin. */
export class NotAttachedError extends Error {
  /** Stable code for programs. */
  readonly code = 'NOT_ATTACHED';

  /**
   * @param plugin the backend half, as it was asked for.
   * @param ms how long it was waited for.
   * @param guests where they stand.
   */
  constructor(plugin: string, ms: number, guests: readonly GuestStanding[]) {
    const seen = guests.map(({ guest, state, loadFailure, reasons }) => {
      const said = reasons.filter((reason) => typeof reason === 'string' && reason !== '');
      if (loadFailure !== null) said.unshift(`its half was not loaded: ${loadFailure}`);
      return `${guest} ${state}${said.length === 0 ? '' : ` (${said.join('; ')})`}`;
    });
    super(
      `expected plugin ${plugin} to attach to both guests within ${ms} ms, saw ${seen.join(' and ')}; ` +
        `mend what is named there, or see what "netaccel conform ${plugin}" says`,
    );
    this.name = 'NotAttachedError';
  }
}
