/**
 * One half of a plugin, as the scripted host sees it: what it holds, what it may not do any more, and which of its
 * service calls is to fail. Everything that a service hands out goes through here.
 */

/** What a half can hold. */
export const HELD_KINDS = ['grants', 'mappings', 'channels', 'timers', 'watches', 'subscriptions'] as const;
/** One of {@link HELD_KINDS}. */
export type HeldKind = (typeof HELD_KINDS)[number];

/** Told of a broken rule. */
export type OnBreach = (rule: string, seen: string) => void;

/** An error that the kit made a service throw. */
export class InjectedError extends Error {
  /** @param service the service that fails. */
  constructor(service: string) {
    super(`${service} fails, as the conformance kit asked`);
    this.name = 'InjectedError';
  }
}

/** A half's account. */
export class Half {
  /** `remove` has resolved, or the probe failed: nothing may be asked for any more. */
  over = false;
  /** Calls of services that can fail, so far; the call of number {@link failAt} does. */
  calls = 0;
  failAt = Infinity;
  /** Which service {@link failAt} hit, or null. */
  failed: string | null = null;
  /** What the half said to the operator, and that it cannot go on. */
  readonly lines: string[] = [];
  readonly failures: string[] = [];
  private readonly held = new Map<() => void, { kind: HeldKind; what: string }>();

  /**
   * @param name `front half` or `back half`.
   * @param onBreach told of broken rules.
   */
  constructor(
    readonly name: string,
    readonly onBreach: OnBreach,
  ) {}

  /** A service that can fail is called. Throws when it is its turn, or when the half is over. */
  enter(service: string): void {
    this.alive(service);
    if (this.calls++ !== this.failAt) return;
    this.failed = service;
    throw new InjectedError(service);
  }

  /** A service that cannot fail is called. */
  alive(service: string): void {
    if (!this.over) return;
    this.onBreach('life.silent-after-remove', `the ${this.name} called ${service} after its end`);
    throw new Error(`${service} was called after remove()`);
  }

  /** Like {@link alive}, for services that answer nothing: whether the call counts. */
  isOpen(service: string): boolean {
    if (this.over)
      this.onBreach('life.silent-after-remove', `the ${this.name} called ${service} after its end`);
    return !this.over;
  }

  /** Puts something in; answers what takes it back, at most once. */
  hold(kind: HeldKind, what: string, release: () => void): () => void {
    const once = (): void => {
      if (this.held.delete(once)) release();
    };
    this.held.set(once, { kind, what });
    return once;
  }

  /** What it holds of a kind, in words. */
  holds(kind: HeldKind): string[] {
    return [...this.held.values()].filter((each) => each.kind === kind).map(({ what }) => what);
  }

  /** How many things it holds. */
  get size(): number {
    return this.held.size;
  }

  /** Takes back everything, last first, as a driver does when a plugin is gone. */
  takeBack(): void {
    for (const release of [...this.held.keys()].reverse()) release();
  }
}
