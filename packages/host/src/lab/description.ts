/**
 * A lab as plain data: every default filled in, every name checked, every unit turned into a number.
 *
 * What `netaccel up` starts and `netaccel ls` shows. It survives JSON.
 */
import type { LabAddress } from './ip.js';
import type { LabProblem } from './problem.js';

/** A plugin that was found. */
export interface LabPlugin {
  /** Its npm name or path, as the file has it. */
  readonly name: string;
  /** Where its module is: what `import()` takes. */
  readonly url: string;
}

/** Where something stands in the lab file. */
export type LabPlaceOf = Pick<LabProblem, 'path' | 'line' | 'column' | 'excerpt'>;

/** A backend plugin, with its options as the file has them: only the plugin knows whether they fit. */
export interface LabAccelerator extends LabPlugin {
  /** What the file sets. */
  readonly options: Readonly<Record<string, number | boolean | string>>;
  /** Where each option's name and value stand. */
  readonly optionPlaces: Readonly<Record<string, { readonly key: LabPlaceOf; readonly value: LabPlaceOf }>>;
}

/** A Linux network namespace, through a TAP. */
export interface LabTapPort {
  /** Which kind. */
  readonly kind: 'tap';
}

/** Memory: a program or a traffic source in this process. */
export interface LabMemoryPort {
  /** Which kind. */
  readonly kind: 'memory';
}

/** A capture file that is replayed. */
export interface LabPcapPort {
  /** Which kind. */
  readonly kind: 'pcap';
  /** The file's absolute path. */
  readonly file: string;
  /** Whether it starts again at the end. */
  readonly loop: boolean;
}

/** What stands behind an interface. */
export type LabPort = LabTapPort | LabMemoryPort | LabPcapPort;

/** A vif's share of the NIC: its `limits/` in the store. */
export interface LabVifLimits {
  /** Receive filters. */
  readonly filters: number;
  /** Pages of packet buffers. */
  readonly bufferPages: number;
  /** Multicast groups. */
  readonly multicasts: number;
}

/** Forms of event channels. */
export type LabEventChannels = '2-level' | 'fifo';

/** A guest. */
export interface LabGuest {
  /** Its name, unique on its host. */
  readonly name: string;
  /** The MAC address, lower case; unique in the lab. */
  readonly mac: string;
  /** Its address, or null. */
  readonly ip: LabAddress | null;
  /** The only addresses that it may send from, or null when that is its own affair. */
  readonly addresses: readonly string[] | null;
  /** What stands behind its interface. */
  readonly port: LabPort;
  /** Payload bytes of a frame. */
  readonly mtu: number;
  /** Queues of its vif. */
  readonly queues: number;
  /** The NIC port that its fast path may use, or null for none. */
  readonly accel: string | null;
  /** Transmit limit in bits per second, or null. */
  readonly rateBitsPerSecond: number | null;
  /** The event channels that its kernel uses. */
  readonly eventChannels: LabEventChannels;
  /** The vif's limits in the store. */
  readonly limits: LabVifLimits;
  /** The frontend plugin, or null for the one that the backend names. */
  readonly frontend: LabPlugin | null;
}

/** The driver domain's own interface. */
export interface LabDriverDomain {
  /** What stands behind it. */
  readonly port: 'tap' | 'memory';
  /** The MAC address. */
  readonly mac: string;
  /** Its address, or null. */
  readonly ip: LabAddress | null;
  /** Payload bytes of a frame. */
  readonly mtu: number;
}

/** A NIC. */
export interface LabNic {
  /** Names of its ports. */
  readonly ports: readonly string[];
  /** Receive filters it has. */
  readonly filters: number;
  /** Entries of its buffer table, one per page. */
  readonly bufferPages: number;
}

/** A learning bridge. */
export interface LabBridge {
  /** The NIC ports that it joins with the vifs. */
  readonly ports: readonly string[];
  /** How long a learned address is kept. */
  readonly ageingMs: number;
}

/** A host. */
export interface LabHost {
  /** Its name. */
  readonly name: string;
  /** Its NIC. */
  readonly nic: LabNic;
  /** Its bridge. */
  readonly bridge: LabBridge;
  /** The driver domain's own interface, or null. */
  readonly driverDomain: LabDriverDomain | null;
  /** The event channels that its driver domain's kernel uses. */
  readonly eventChannels: LabEventChannels;
  /** Backend plugins to load at the start, in this order. */
  readonly accelerators: readonly LabAccelerator[];
  /** Its guests, in the order of the file. */
  readonly guests: readonly LabGuest[];
}

/** One end of a wire. */
export interface LabWireEnd {
  /** The host. */
  readonly host: string;
  /** The port of its NIC. */
  readonly port: string;
}

/** What goes wrong on a wire: probabilities for each frame. */
export interface LabWireFaults {
  /** That it is lost. */
  readonly drop: number;
  /** That a bit of it is changed. */
  readonly corrupt: number;
}

/** A wire. */
export interface LabWire {
  /** What it joins. */
  readonly ends: readonly [LabWireEnd, LabWireEnd];
  /** Bits per second each way, or null for no limit. */
  readonly rateBitsPerSecond: number | null;
  /** How long a frame travels. */
  readonly delayNs: number;
  /** Payload bytes of the longest frame. */
  readonly mtu: number;
  /** What goes wrong on it. */
  readonly faults: LabWireFaults;
}

/** A lab. */
export interface LabDescription {
  /** The version of the format. */
  readonly lab: 1;
  /** Its name. */
  readonly name: string;
  /** The file that it came from, as it was named. */
  readonly file: string;
  /** Where everything random begins. */
  readonly seed: number;
  /** Its hosts, in the order of the file. */
  readonly hosts: readonly LabHost[];
  /** Its wires. */
  readonly wires: readonly LabWire[];
}
