/**
 * The contract's version, and the check that a host makes before a plugin is let near a device.
 *
 * A host accepts the current version and the one before (architecture section 4; the historical exact match
 * is what kept old guests from new hosts). Version 1 is the first, so there is nothing before it yet. What a host
 * drives a plugin by is the plugin's own version: it finds it in `services.contract`.
 */

/** The contract that this package describes. */
export const CONTRACT_VERSION: number = 1;

/** The contracts that a host drives. */
export interface ContractRange {
  /** The first. */
  readonly oldest: number;
  /** The last: the host's own. */
  readonly newest: number;
}

/**
 * The contracts that a host whose own is `current` drives: that one and the one before.
 *
 * @example
 * ```ts
 * acceptedContracts(3); // { oldest: 2, newest: 3 }
 * ```
 */
export function acceptedContracts(current: number = CONTRACT_VERSION): ContractRange {
  return { oldest: Math.max(1, current - 1), newest: current };
}

/** The oldest contract that a host of this version still drives. */
export const OLDEST_CONTRACT: number = acceptedContracts().oldest;

/** A plugin speaks a contract that this host does not. */
export class ContractMismatchError extends Error {
  /** Stable code for programs. */
  readonly code = 'CONTRACT_MISMATCH';
  /**
   * @param plugin the plugin's name.
   * @param seen the contract it was made for.
   * @param host what the host drives.
   */
  constructor(
    readonly plugin: string,
    readonly seen: unknown,
    host: ContractRange = acceptedContracts(),
  ) {
    const { oldest, newest } = host;
    const newer = typeof seen === 'number' && seen > newest;
    super(
      `${plugin} was made for contract version ${String(seen)}; this host speaks ` +
        `${oldest === newest ? newest : `${oldest} to ${newest}`}; ` +
        (newer
          ? `run "npm install @netaccel/host@latest" to bring the host up to it`
          : `run "npm install ${plugin}@latest" for a plugin of today`),
    );
    this.name = 'ContractMismatchError';
  }
}

/**
 * Throws {@link ContractMismatchError} unless the host can drive a plugin of contract `seen`.
 * @param plugin its name, for the message.
 * @param seen the contract it was made for.
 * @param host what the host drives; what this package's version does when left out.
 */
export function checkContract(
  plugin: string,
  seen: unknown,
  host: ContractRange = acceptedContracts(),
): void {
  if (typeof seen !== 'number' || !Number.isInteger(seen) || seen < host.oldest || seen > host.newest)
    throw new ContractMismatchError(plugin, seen, host);
}
