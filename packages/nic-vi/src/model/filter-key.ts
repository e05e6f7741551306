/**
 * Filters as the NIC keeps them: the words of a key, in the form that `FrameHeaders` has addresses and ports.
 */
import { FilterSpecError, filterKinds, type FilterSpec, type FlowSpec, type KeyedFilter } from '../filter.js';
import { Protocol, UNTAGGED, pair, unpair } from '../headers.js';

/** Numbers of the kinds that are found by hash. */
export const FilterKindNumber = { full: 0, local: 1, macVlan: 2, mac: 3 } as const;

/** Words of a key: which, mac0, mac1, ports, destination 4, source 4. */
export const FILTER_KEY_WORDS = 12;
/** Where they are. */
export const FilterKey = { which: 0, mac0: 1, mac1: 2, ports: 3, destination: 4, source: 8 } as const;

/** The key's first word: what the other words mean. */
export function filterWhich(kind: number, version: number, protocol: number, vlan: number): number {
  return kind | (version << 4) | (protocol << 8) | (vlan << 16);
}

/** VLAN in the key of a filter that takes any. */
export const ANY_VLAN = 0x1fff;

/**
 * Writes the key of a filter that is found by hash.
 * @returns its kind's number.
 * @throws FilterSpecError for a field out of range.
 */
export function encodeFilterKey(spec: KeyedFilter, key: Int32Array): number {
  key.fill(0);
  const kind = FilterKindNumber[spec.kind];
  const mac = bytesOf('mac', spec.mac, [6]);
  key[FilterKey.mac0] = pair(mac, 0);
  key[FilterKey.mac1] = pair([mac[4]!, mac[5]!, 0, 0], 0);
  const vlan = spec.kind === 'mac' ? ANY_VLAN : vlanOf(spec.vlan);
  if (spec.kind === 'mac' || spec.kind === 'macVlan') {
    key[FilterKey.which] = filterWhich(kind, 0, 0, vlan);
    return kind;
  }
  const local = bytesOf('localAddress', spec.localAddress, [4, 16]);
  const protocol = Protocol[spec.protocol];
  key[FilterKey.which] = filterWhich(kind, local.length === 4 ? 4 : 6, protocol, vlan);
  const to = portOf('localPort', spec.localPort);
  for (let i = 0; i < local.length; i += 4) key[FilterKey.destination + i / 4] = pair(local, i);
  let from = 0;
  if (spec.kind === 'full') {
    const remote = bytesOf('remoteAddress', spec.remoteAddress, [local.length]);
    for (let i = 0; i < remote.length; i += 4) key[FilterKey.source + i / 4] = pair(remote, i);
    from = portOf('remotePort', spec.remotePort);
  }
  key[FilterKey.ports] = pair([from >>> 8, from, to >>> 8, to], 0);
  return kind;
}

/** The specification that a key was made from. */
export function decodeFilterKey(kind: number, key: ArrayLike<number>): FilterSpec {
  const name = filterKinds[kind]!;
  if (name === 'unmatchedMulticast' || name === 'unmatchedUnicast') return { kind: name };
  const mac = bytesFrom(key, FilterKey.mac0, 8).slice(0, 6);
  const which = key[FilterKey.which]!;
  const tag = (which >>> 16) & ANY_VLAN;
  const vlan = tag === UNTAGGED ? {} : { vlan: tag };
  if (name === 'mac') return { kind: name, mac };
  if (name === 'macVlan') return { kind: name, mac, ...vlan };
  const length = ((which >>> 4) & 0xf) === 4 ? 4 : 16;
  const ports = bytesFrom(key, FilterKey.ports, 4);
  const flow: FlowSpec = {
    mac,
    ...vlan,
    protocol: ((which >>> 8) & 0xff) === Protocol.tcp ? 'tcp' : 'udp',
    localAddress: bytesFrom(key, FilterKey.destination, length),
    localPort: (ports[2]! << 8) | ports[3]!,
  };
  if (name === 'local') return { kind: name, ...flow };
  return {
    kind: name,
    ...flow,
    remoteAddress: bytesFrom(key, FilterKey.source, length),
    remotePort: (ports[0]! << 8) | ports[1]!,
  };
}

function bytesFrom(key: ArrayLike<number>, word: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i += 4) unpair(key[word + i / 4]!, bytes, i);
  return bytes;
}

function bytesOf(what: string, bytes: ArrayLike<number>, lengths: readonly number[]): ArrayLike<number> {
  if (!lengths.includes(bytes.length))
    throw new FilterSpecError(`${what}: ${lengths.join(' or ')} bytes expected, ${bytes.length} seen`);
  return bytes;
}

function portOf(what: string, port: number): number {
  if (!Number.isInteger(port) || port < 0 || port > 0xffff)
    throw new FilterSpecError(`${what}: 0 to 65535 expected, ${port} seen`);
  return port;
}

function vlanOf(vlan: number | undefined): number {
  if (vlan === undefined) return UNTAGGED;
  if (!Number.isInteger(vlan) || vlan < 0 || vlan > 0xfff)
    throw new FilterSpecError(`vlan: 0 to 4095 expected, ${vlan} seen`);
  return vlan;
}
