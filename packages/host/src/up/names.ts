/**
 * Names that people give to the things of a lab, and what they mean: `alpha` a host, `a` or `alpha.a` a guest,
 * `vif1.0` or `alpha.vif1.0` its vif, `alpha.eth0` a NIC port, `alpha.eth0.vi3` a VI of that.
 */
import { nearestName } from '../lab/nearest.js';
import type { PlacedGuest, PlacedHost, PlacedLab } from './placement.js';

/** What a name means. */
export type Named =
  | { readonly kind: 'host'; readonly host: PlacedHost }
  | { readonly kind: 'guest'; readonly host: PlacedHost; readonly guest: PlacedGuest; readonly domid: number }
  | { readonly kind: 'port'; readonly host: PlacedHost; readonly port: string }
  | { readonly kind: 'vi'; readonly host: PlacedHost; readonly port: string; readonly vi: number };

/** Numbers of the VIs that a NIC port has now. */
export type VisOf = (host: string, port: string) => readonly number[];

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

const KINDS = { host: 'a host', guest: 'a guest', port: 'a NIC port', vi: 'a VI of one' } as const;

/**
 * Finds what a name means.
 * @param kinds what may be meant.
 * @param visOf which VIs there are, when one may be meant.
 * @throws UnknownNameError
 */
export function findNamed<K extends Named['kind']>(
  lab: PlacedLab,
  name: string,
  kinds: readonly K[],
  visOf: VisOf = () => [],
): Extract<Named, { kind: K }> {
  const all = everything(lab, visOf).filter(([, named]) => (kinds as readonly string[]).includes(named.kind));
  const found = all.filter(([text]) => text === name).map(([, named]) => named);
  if (found.length === 1) return found[0] as Extract<Named, { kind: K }>;
  const expected = kinds.map((kind) => KINDS[kind]).join(' or ');
  if (found.length > 1) {
    const full = found.map((named) => fullName(named)).join(', ');
    throw new UnknownNameError(
      `expected one thing named ${name}, saw several in the lab ${lab.name}; say which: ${full}`,
    );
  }
  // A VI with a number that there is not is no slip of the pen: who asks wants to know which there are.
  const port = /^(.*\.)vi\d+$/.exec(name)?.[1];
  const vis = all.filter(([text, { kind }]) => kind === 'vi' && port !== undefined && text.startsWith(port));
  const nearest =
    vis.length > 0
      ? null
      : nearestName(
          name,
          all.map(([text]) => text),
        );
  const known = [...new Set((vis.length > 0 ? vis : all).map(([, named]) => fullName(named)))];
  const advice =
    nearest === null ? `there are: ${known.slice(0, 12).join(', ') || 'none'}` : `did you mean ${nearest}?`;
  throw new UnknownNameError(`expected ${expected} of the lab ${lab.name}, saw ${name}; ${advice}`);
}

/** The one name that always means this. */
export function fullName(named: Named): string {
  if (named.kind === 'host') return named.host.name;
  if (named.kind === 'guest') return `${named.host.name}.${named.guest.name}`;
  const port = `${named.host.name}.${named.port}`;
  return named.kind === 'vi' ? `${port}.vi${named.vi}` : port;
}

function everything(lab: PlacedLab, visOf: VisOf): [string, Named][] {
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
      for (const vi of visOf(host.name, port))
        for (const text of [`${port}.vi${vi}`, `${host.name}.${port}.vi${vi}`])
          names.push([text, { kind: 'vi', host, port, vi }]);
    }
    return names;
  });
}
