/**
 * Makes a lab description of a lab file whose shape was checked: defaults that depend on other things, units,
 * addresses, and every name that must exist or must be there once only.
 *
 * Nothing here touches the machine but to ask whether a plugin or a capture file is there.
 */
import { resolve as resolvePath } from 'node:path';
import type {
  LabAccelerator,
  LabDescription,
  LabDriverDomain,
  LabGuest,
  LabHost,
  LabPlugin,
  LabPort,
} from './description.js';
import type { LabWire, LabWireEnd } from './description.js';
import { type LabAddress, parseAddress, parseLoneAddress } from './ip.js';
import { deriveMac, isStationMac, parseMac } from './mac.js';
import { nearestName } from './nearest.js';
import type { LabFile, LabFileAccelerator, LabFileGuest, LabFileHost, LabFileWire } from './schema.js';
import { clip, type Shape } from './shape.js';
import { type LabSource, pathText, type ProblemText } from './source.js';
import { DURATION_EXAMPLE, parseDuration, parseRate, RATE_EXAMPLE } from './units.js';
import type { LabPath } from './yaml-tree.js';

/** What a lab file is resolved with. */
export interface LabSurroundings {
  /** Folder that relative paths and plugin names count from. */
  readonly directory: string;
  /** Name of a lab that has none. */
  readonly defaultName: string;
  /** Where a plugin's module is; throws when it cannot be found. */
  readonly resolvePlugin: (name: string, directory: string) => string;
  /** Names that a missing plugin is compared with. */
  readonly listPlugins: (directory: string) => readonly string[];
  /** Whether a file is there. */
  readonly fileExists: (path: string) => boolean;
}

const NANOSECONDS_PER_MILLISECOND = 1e6;

/** Resolves one lab; problems go to the source. */
export class LabResolver {
  private readonly name: string;
  /** What may be there once only, by kind and value: where it stands first. */
  private readonly claims = new Map<string, LabPath>();
  /** Host and port of every NIC port, as wires name them. */
  private readonly ends: readonly string[];

  /**
   * @param source where problems go.
   * @param file what fitted the schema.
   * @param shape which of it is in doubt.
   * @param around the rest of the world.
   */
  constructor(
    private readonly source: LabSource,
    private readonly file: LabFile,
    private readonly shape: Shape,
    private readonly around: LabSurroundings,
  ) {
    this.name = file.name ?? around.defaultName;
    this.ends = Object.entries(file.hosts).flatMap(([host, { nic }]) =>
      nic.ports.map((port) => `${host}.${port}`),
    );
  }

  /** The lab; to be used only when the source has no problems. */
  resolve(): LabDescription {
    this.claimMacs();
    return {
      lab: this.file.lab,
      name: this.name,
      file: this.source.file,
      seed: this.file.seed,
      hosts: Object.entries(this.file.hosts).map(([name, host]) => this.host(name, host)),
      wires: this.file.wires.map((wire, i) => this.wire(wire, ['wires', this.shape.wireNumbers[i]!])),
    };
  }

  /** Addresses that the file gives come before any that is derived. */
  private claimMacs(): void {
    for (const [name, { guests, driverDomain }] of Object.entries(this.file.hosts)) {
      if (driverDomain?.mac !== undefined)
        this.claimMac(driverDomain.mac, ['hosts', name, 'driverDomain', 'mac']);
      for (const [guest, { mac }] of Object.entries(guests))
        if (mac !== undefined) this.claimMac(mac, ['hosts', name, 'guests', guest, 'mac']);
    }
  }

  private claimMac(text: string, path: LabPath): void {
    const mac = parseMac(text)!;
    if (isStationMac(mac)) {
      this.claim('the MAC address', mac, path, 'give each interface its own, or leave mac out');
      return;
    }
    const expected = 'the MAC address of an interface: the first byte even, and not all zeros';
    this.bad(path, expected, mac, 'leave mac out, and one is derived');
  }

  private host(name: string, host: LabFileHost): LabHost {
    const path = ['hosts', name];
    const { nic } = host;
    const isSure = !this.shape.isDoubtful(name);
    nic.ports.forEach((port, i) =>
      this.claim('the port', `${name}.${port}`, [...path, 'nic', 'ports', i], 'rename it'),
    );
    host.bridge.ports?.forEach((port, i) => {
      const at = [...path, 'bridge', 'ports', i];
      if (isSure) this.port(port, nic.ports, at);
      this.claim('the bridge port', `${name}.${port}`, at, 'take one of them out');
    });
    const bridgePorts = host.bridge.ports ?? nic.ports.slice(0, 1);
    const { accelerator } = host;
    const isList = Array.isArray(accelerator);
    const plugins: readonly LabFileAccelerator[] = isList ? accelerator : [accelerator];
    return {
      name,
      nic,
      bridge: {
        ports: bridgePorts,
        ageingMs:
          this.duration(host.bridge.ageing, [...path, 'bridge', 'ageing']) / NANOSECONDS_PER_MILLISECOND,
      },
      driverDomain: this.driverDomain(name, host.driverDomain),
      eventChannels: host.eventChannels,
      accelerators: plugins.map((plugin, i) =>
        this.accelerator(plugin, [...path, 'accelerator', ...(isList ? [i] : [])]),
      ),
      guests: Object.entries(host.guests).map(([guest, value]) =>
        this.guest(guest, value, host, { name, isSure, accel: bridgePorts[0] ?? null }),
      ),
    };
  }

  private driverDomain(host: string, file: LabFileHost['driverDomain']): LabDriverDomain | null {
    if (file === undefined) return null;
    const path = ['hosts', host, 'driverDomain'];
    const { port, mtu } = file;
    if (port === 'none') {
      if (file.ip !== undefined)
        this.bad([...path, 'ip'], 'no address where port is none', file.ip, 'make port tap, or take ip out');
      return null;
    }
    return { port, mtu, mac: this.mac(file.mac, [host]), ip: this.address(file.ip, [...path, 'ip']) };
  }

  private guest(
    name: string,
    file: LabFileGuest,
    { nic, eventChannels }: LabFileHost,
    host: { readonly name: string; readonly isSure: boolean; readonly accel: string | null },
  ): LabGuest {
    const path = ['hosts', host.name, 'guests', name];
    const { accel = host.accel, limits } = file;
    if (file.accel !== undefined && file.accel !== false && host.isSure)
      this.port(file.accel, nic.ports, [...path, 'accel']);
    for (const key of ['filters', 'bufferPages'] as const) {
      // What the file did not ask for is not held against it.
      if (limits[key] <= nic[key] || !this.source.has([...path, 'limits', key])) continue;
      const expected = `at most the ${nic[key]} that nic.${key} of ${host.name} has`;
      this.bad([...path, 'limits', key], expected, String(limits[key]), `lower it, or raise nic.${key}`);
    }
    return {
      name,
      mac: this.mac(file.mac, [host.name, name]),
      ip: this.address(file.ip, [...path, 'ip']),
      addresses: this.antispoof(file, [...path, 'antispoof']),
      port: this.guestPort(file.port, [...path, 'port']),
      mtu: file.mtu,
      queues: file.queues,
      accel: accel === false ? null : accel,
      rateBitsPerSecond: this.rate(file.rate, [...path, 'rate']),
      eventChannels: file.eventChannels ?? eventChannels,
      limits: {
        filters: Math.min(limits.filters, nic.filters),
        bufferPages: Math.min(limits.bufferPages, nic.bufferPages),
        multicasts: limits.multicasts,
      },
      frontend: file.frontend === undefined ? null : this.plugin(file.frontend, [...path, 'frontend']),
    };
  }

  private antispoof({ antispoof, ip }: LabFileGuest, path: LabPath): readonly string[] | null {
    if (antispoof === undefined) return null;
    if (antispoof === true) {
      if (ip === undefined)
        this.bad(
          path,
          'an ip of the guest to hold it to',
          'none',
          'give it an ip, or list its addresses here',
        );
      const own = parseAddress(ip ?? '');
      return 'address' in own ? [own.address] : [];
    }
    return antispoof.map((text, i) => {
      const address = parseLoneAddress(text);
      if (address === null)
        this.bad([...path, i], 'an IPv4 or IPv6 address', text, 'write it without the length of its network');
      return address ?? text;
    });
  }

  private guestPort(port: LabFileGuest['port'], path: LabPath): LabPort {
    if (typeof port === 'string') return { kind: port };
    const file = resolvePath(this.around.directory, port.pcap);
    if (!this.around.fileExists(file)) {
      const advice = `paths count from ${this.around.directory}`;
      const seen = `nothing at ${file}`;
      this.source.add([...path, 'pcap'], 'value', {
        code: 'LAB_MISSING_FILE',
        expected: 'a capture file',
        seen,
        advice,
      });
    }
    return { kind: 'pcap', file, loop: port.loop };
  }

  private wire(file: LabFileWire, path: LabPath): LabWire {
    const [a, b] = file.between.map((end, i) => this.wireEnd(end, [...path, 'between', i]));
    return {
      ends: [a!, b!],
      rateBitsPerSecond: this.rate(file.rate, [...path, 'rate']),
      delayNs: this.duration(file.delay, [...path, 'delay']),
      mtu: file.mtu,
      faults: file.faults,
    };
  }

  private wireEnd(end: string, path: LabPath): LabWireEnd {
    const [host, port] = end.split('.') as [string, string];
    if (this.ends.includes(end))
      this.claim("the wire's end", end, path, 'a port has one wire: use another port');
    else if (!this.shape.isDoubtful(host)) this.unknown(end, this.ends, 'a NIC port of a host', path);
    return { host, port };
  }

  private port(name: string, ports: readonly string[], path: LabPath): void {
    if (!ports.includes(name)) this.unknown(name, ports, 'a NIC port of this host', path);
  }

  private accelerator(file: LabFileAccelerator, path: LabPath): LabAccelerator {
    if (typeof file === 'string') return { ...this.plugin(file, path), options: {}, optionPlaces: {} };
    const { plugin, options } = file;
    const places = Object.keys(options).map((name) => {
      const at = [...path, 'options', name];
      return [name, { key: this.source.placeOfPath(at, 'key'), value: this.source.placeOfPath(at, 'value') }];
    });
    return {
      ...this.plugin(plugin, [...path, 'plugin']),
      options,
      optionPlaces: Object.fromEntries(places) as LabAccelerator['optionPlaces'],
    };
  }

  private plugin(name: string, path: LabPath): LabPlugin {
    const { directory, resolvePlugin, listPlugins } = this.around;
    try {
      return { name, url: resolvePlugin(name, directory) };
    } catch {
      const isPath = /^[./]/.test(name);
      const nearest = isPath ? null : nearestName(name, listPlugins(directory));
      const advice =
        nearest === null
          ? isPath
            ? 'check the path'
            : `run npm install ${clip(name)} there`
          : `did you mean ${nearest}?`;
      const seen = `no plugin ${clip(name)} to be found from ${directory}`;
      this.source.add(path, 'value', {
        code: 'LAB_MISSING_PLUGIN',
        expected: 'a plugin that is installed',
        seen,
        advice,
        nearest,
      });
      return { name, url: '' };
    }
  }

  private mac(given: string | undefined, names: readonly string[]): string {
    if (given !== undefined) return parseMac(given)!;
    const mac = deriveMac([this.name, ...names], (candidate) =>
      this.claims.has(claimKey('the MAC address', candidate)),
    );
    this.claims.set(claimKey('the MAC address', mac), []);
    return mac;
  }

  private address(text: string | undefined, path: LabPath): LabAddress | null {
    if (text === undefined) return null;
    const address = parseAddress(text);
    if ('wrong' in address) {
      this.bad(path, address.wrong, text, 'correct the address');
      return null;
    }
    this.claim('the address', address.address, path, 'give each interface its own');
    return address;
  }

  private rate(text: string | undefined, path: LabPath): number | null {
    if (text === undefined) return null;
    const rate = parseRate(text);
    if (rate === null || rate < 1)
      this.bad(path, `${RATE_EXAMPLE}, above 0`, text, 'leave rate out for no limit');
    return rate;
  }

  private duration(text: string | 0, path: LabPath): number {
    const duration = text === 0 ? 0 : parseDuration(text);
    if (duration === null) this.bad(path, DURATION_EXAMPLE, String(text), 'write a shorter one');
    return duration ?? 0;
  }

  /** Takes what may be there once only; a second one is told where the first stands. */
  private claim(kind: string, value: string, path: LabPath, advice: string): void {
    const key = claimKey(kind, value);
    const first = this.claims.get(key);
    if (first === undefined) {
      this.claims.set(key, path);
      return;
    }
    const text = { expected: `${kind} ${value} once`, seen: `it again, first at ${pathText(first)}`, advice };
    this.source.add(path, 'value', { code: 'LAB_DUPLICATE', ...text }, first);
  }

  private unknown(name: string, known: readonly string[], what: string, path: LabPath): void {
    const nearest = nearestName(name, known);
    const some = known.slice(0, 8).join(', ') + (known.length > 8 ? ', ...' : '');
    this.source.add(path, 'value', {
      code: 'LAB_UNKNOWN_NAME',
      expected: `${what}: ${some}`,
      seen: name,
      advice: nearest === null ? 'name one of these, or add it to nic.ports' : `did you mean ${nearest}?`,
      nearest,
    });
  }

  private bad(path: LabPath, expected: string, seen: string, advice: string): void {
    const text: ProblemText = { code: 'LAB_BAD_VALUE', expected, seen: clip(seen), advice };
    this.source.add(path, 'value', text);
  }
}

function claimKey(kind: string, value: string): string {
  return `${kind} ${value}`;
}
