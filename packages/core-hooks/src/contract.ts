/**
 * The contract's version, and the check that a host makes before a plugin is let near a device.
 *
 * A host accepts the current version and the one before (architecture section 4; the historical exact match
 * is what kept old guests from new hosts). Version 1 is the first, so there is nothing before it yet.
 */

/** The contract that this package describes. */
export const CONTRACT_VERSION: number = 1;
/** The oldest contract that a host of this version still drives. */
export const OLDEST_CONTRACT: number = 1;

/** A plugin speaks a contract that this host does not. */
export class ContractMismatchError extends Error {
  /** Stable code for programs. */
  readonly code = 'CONTRACT_MISMATCH';
  /**
   * @param plugin the plugin's name.
   * @param seen the contract it was made for.
   */
  constructor(
    readonly plugin: string,
    readonly seen: unknown,
  ) {
    const newer = typeof seen === 'number' && seen > CONTRACT_VERSION;
    super(
      `${plugin} was made for contract version ${String(seen)}; this host speaks ` +
        `${OLDEST_CONTRACT === CONTRACT_VERSION ? CONTRACT_VERSION : `${OLDEST_CONTRACT} to ${CONTRACT_VERSION}`}; ` +
        (newer
          ? `run "npm install @netaccel/host@latest" to bring the host up to it`
          : `run "npm install ${plugin}@latest" for a plugin of today`),
    );
    this.name = 'ContractMismatchError';
  }
}

/** Throws {@link ContractMismatchError} unless the host can drive a plugin of contract `seen`. */
export function checkContract(plugin: string, seen: unknown): void {
  if (
    typeof seen !== 'number' ||
    !Number.isInteger(seen) ||
    seen < OLDEST_CONTRACT ||
    seen > CONTRACT_VERSION
  )
    throw new ContractMismatchError(plugin, seen);
}
