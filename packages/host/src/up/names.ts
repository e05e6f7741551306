/**
 * Names that people give to the things of a lab, and what they mean: `alpha` a host, `a` or `alpha.a` a guest,
 * `vif1.0` or `alpha.vif1.0` its vif, `alpha.eth0` a NIC port.
 */
import { nearestName } from '../lab/nearest.js';
import type { PlacedGuest, PlacedHost, PlacedLab } from './placement.js';

/** What a name means. */
export type Named =
  | { readonly kind: 'host'; readonly host: PlacedHost }
  | { readonly kind: 'guest'; readonly host: PlacedHost; readonly guest: PlacedGuest; readonly domid: number }
  | { readonly kind: 'port'; readonly host: PlacedHost; readonly port: string };

/** A name means nothing in this lab, or two things. */
export class UnknownNameError extends Error {
  /** Stable code for programs. */
  readonly code = 'UNKNOWN_NAME';
  /** @param message what was expected, what was seen, what to do. */
  constructor(message: string) {
    super(message);
    this.name = 'UnknownNameError';
  }
}

const KINDS = { host: 'a host', guest: 'a guest', port: 'a NIC port' } as const;

/**
 * Finds what a name means.
 * @param kinds what may be meant.
 * @throws UnknownNameError
 */
export function findNamed<K extends Named['kind']>(
  lab: PlacedLab,
  name: string,
  kinds: readonly K[],
): Extract<Named, { kind: K }> {
  const all = everything(lab).filter(([, named]) => (kinds as readonly string[]).includes(named.kind));
  const found = all.filter(([text]) => text === name).map(([, named]) => named);
  if (found.length === 1) return found[0] as Extract<Named, { kind: K }>;
  const expected = kinds.map((kind) => KINDS[kind]).join(' or ');
  if (found.length > 1) {
    const full = found.map((named) => fullName(named)).join(', ');
    throw new UnknownNameError(
      `expected one thing named ${name}, saw several in the lab ${lab.name}; say which: ${full}`,
    );
  }
  const names = all.map(([text]) => text);
  const nearest = nearestName(name, names);
  const known = [...new Set(all.map(([, named]) => fullName(named)))];
  const advice =
    nearest === null ? `there are: ${known.slice(0, 12).join(', ') || 'none'}` : `did you mean ${nearest}?`;
  throw new UnknownNameError(`expected ${expected} of the lab ${lab.name}, saw ${name}; ${advice}`);
}

/** The one name that always means this. */
export function fullName(named: Named): string {
  if (named.kind === 'host') return named.host.name;
  return `${named.host.name}.${named.kind === 'guest' ? named.guest.name : named.port}`;
}

function everything(lab: PlacedLab): [string, Named][] {
  return lab.hosts.flatMap((host) => {
    const names: [string, Named][] = [[host.name, { kind: 'host', host }]];
    host.guests.forEach((guest) => {
      const { domid } = guest;
      const named: Named = { kind: 'guest', host, guest, domid };
      const vif = `vif${domid}.0`;
      for (const text of [guest.name, `${host.name}.${guest.name}`, vif, `${host.name}.${vif}`])
        names.push([text, named]);
    });
    for (const port of host.nic.ports) {
      const named: Named = { kind: 'port', host, port };
      for (const text of [port, `${host.name}.${port}`]) names.push([text, named]);
    }
    return names;
  });
}
