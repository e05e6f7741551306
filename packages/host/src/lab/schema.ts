/**
 * The lab file's shape: one valibot schema, from which the published JSON Schema is made too.
 *
 * A schema's message says what was expected at that place, in words that fit behind `expected:`. What a
 * schema cannot say (names that must exist, addresses that must differ) is in `resolve.ts`.
 */
import * as v from 'valibot';
import { ADDRESS_EXAMPLE, ADDRESS_PATTERN, LONE_ADDRESS_PATTERN } from './ip.js';
import { MAC_PATTERN } from './mac.js';
import { DURATION_EXAMPLE, DURATION_PATTERN, RATE_EXAMPLE, RATE_PATTERN } from './units.js';

/** The version of lab files that is read. */
export const LAB_VERSION = 1;

const MAPPING = 'a mapping';
const NAME_PATTERN = /^[A-Za-z][A-Za-z0-9_-]{0,30}$/;
const NAME = 'a name: a letter, then letters, digits, - or _, at most 31 in all';
const END_PATTERN = /^[A-Za-z][A-Za-z0-9_-]{0,30}\.[A-Za-z][A-Za-z0-9_-]{0,30}$/;

/** Most hosts, guests of a host, ports of a NIC, wires, plugins: a lab runs on one machine. */
const MOST = { hosts: 64, guests: 256, ports: 16, wires: 512, accelerators: 8, options: 64 } as const;

const described = v.description;

const name = v.pipe(v.string(NAME), v.regex(NAME_PATTERN, NAME));

function whole(least: number, most: number) {
  const expected = `a whole number from ${least} to ${most}`;
  return v.pipe(
    v.number(expected),
    v.integer(expected),
    v.minValue(least, expected),
    v.maxValue(most, expected),
  );
}

function text(expected: string, pattern: RegExp) {
  return v.pipe(v.string(expected), v.regex(pattern, expected));
}

const plugin = v.pipe(
  v.string('the npm name of a plugin, or a path to it'),
  v.minLength(1, 'the npm name of a plugin, or a path to it'),
  v.maxLength(1000, 'the npm name of a plugin, or a path to it'),
);

const mac = v.pipe(
  text('a MAC address such as 02:00:00:00:00:0a', MAC_PATTERN),
  described('The MAC address. Left out, one is derived from the names, the same each time.'),
);
const ip = v.pipe(
  text(ADDRESS_EXAMPLE, ADDRESS_PATTERN),
  described('Its IP address and the length of its network.'),
);
const rate = v.pipe(text(RATE_EXAMPLE, RATE_PATTERN), described('At most this rate; left out, no limit.'));
const duration = v.union(
  [text(DURATION_EXAMPLE, DURATION_PATTERN), v.literal(0, DURATION_EXAMPLE)],
  DURATION_EXAMPLE,
);
const mtu = v.pipe(
  whole(68, 9000),
  described('Payload bytes of a frame: the Ethernet header is not counted.'),
);
const probability = v.pipe(
  v.number('a probability from 0 to 1'),
  v.minValue(0, 'a probability from 0 to 1'),
  v.maxValue(1, 'a probability from 0 to 1'),
);

const ports = (expected: string) => v.pipe(v.array(name, expected), v.maxLength(MOST.ports, expected));
const PORT_LIST = `a list of 1 to ${MOST.ports} port names such as [eth0, eth1]`;
const BRIDGE_PORTS = 'a list of NIC ports of this host';

const nic = v.pipe(
  v.strictObject(
    {
      ports: v.optional(
        v.pipe(ports(PORT_LIST), v.minLength(1, PORT_LIST), described('Names of its ports.')),
        ['eth0', 'eth1'],
      ),
      filters: v.optional(v.pipe(whole(0, 65_536), described('Receive filters it has.')), 1024),
      bufferPages: v.optional(
        v.pipe(whole(1, 1_048_576), described('Entries of its buffer table, one per page.')),
        4096,
      ),
    },
    MAPPING,
  ),
  described('The NIC of this host.'),
);

const bridge = v.pipe(
  v.strictObject(
    {
      ports: v.optional(
        v.pipe(
          ports(BRIDGE_PORTS),
          described('NIC ports that it joins with the vifs; left out, the first one.'),
        ),
      ),
      ageing: v.optional(v.pipe(duration, described('How long a learned address is kept.')), '300s'),
    },
    MAPPING,
  ),
  described("The learning bridge: it joins NIC ports and the guests' vifs."),
);

const driverDomain = v.pipe(
  v.strictObject(
    {
      port: v.optional(
        v.pipe(
          v.picklist(['tap', 'memory', 'none'], 'tap, memory or none'),
          described('What serves it: a network namespace behind a TAP, memory, or nothing.'),
        ),
        'tap',
      ),
      ip: v.optional(ip),
      mac: v.optional(mac),
      mtu: v.optional(mtu, 1500),
    },
    MAPPING,
  ),
  described("The driver domain's own interface on the bridge; left out, there is none."),
);

const PORT = 'tap, memory or { pcap: FILE }';
const port = v.pipe(
  v.union(
    [
      v.picklist(['tap', 'memory'], PORT),
      v.strictObject(
        {
          pcap: v.pipe(
            v.string('the path of a capture file'),
            v.minLength(1, 'the path of a capture file'),
            described('The capture file that it sends, relative to the lab file.'),
          ),
          loop: v.optional(
            v.pipe(v.boolean('true or false'), described('Whether it starts again at the end.')),
            false,
          ),
        },
        PORT,
      ),
    ],
    PORT,
  ),
  described(
    "What stands behind the guest's interface: a network namespace with a TAP, memory, or a capture file.",
  ),
);

const limits = v.pipe(
  v.strictObject(
    {
      filters: v.optional(v.pipe(whole(0, 65_536), described('Receive filters.')), 8),
      bufferPages: v.optional(v.pipe(whole(0, 1_048_576), described('Pages of packet buffers.')), 384),
      multicasts: v.optional(v.pipe(whole(0, 65_536), described('Multicast groups.')), 8),
    },
    MAPPING,
  ),
  described("Its share of the NIC: the vif's limits in the store."),
);

/** Addresses of a guest at most: as many as a plugin's half and the NIC hold it to (`MAX_CHECKED_ADDRESSES`). */
const MOST_ADDRESSES = 3;
const ANTISPOOF = 'true, or a list of addresses such as [10.77.0.11, fd00::11]';
const antispoof = v.pipe(
  v.union(
    [
      v.literal(true),
      v.pipe(
        v.array(
          text('an IP address such as 10.77.0.11, without the length of its network', LONE_ADDRESS_PATTERN),
          ANTISPOOF,
        ),
        v.minLength(1, 'at least one address'),
        v.maxLength(MOST_ADDRESSES, `at most ${MOST_ADDRESSES} addresses`),
      ),
    ],
    ANTISPOOF,
  ),
  described(
    'It sends from its MAC address and these IP addresses only, whichever path; true: from its ip. Left out, from any.',
  ),
);

const EVENT_CHANNELS = '2-level or fifo';
const eventChannels = v.picklist(['2-level', 'fifo'], EVENT_CHANNELS);

const guest = v.pipe(
  v.strictObject(
    {
      mac: v.optional(mac),
      ip: v.optional(ip),
      antispoof: v.optional(antispoof),
      port: v.optional(port, 'tap'),
      mtu: v.optional(mtu, 1500),
      queues: v.optional(v.pipe(whole(1, 16), described('Queues of its vif.')), 1),
      accel: v.optional(
        v.pipe(
          v.union([name, v.literal(false)], 'a NIC port of this host, or false'),
          described("The NIC port that its fast path may use, or false; left out, the bridge's first."),
        ),
      ),
      rate: v.optional(rate),
      eventChannels: v.optional(
        v.pipe(
          eventChannels,
          described("The event channels that its kernel uses; left out, those of its host's driver domain."),
        ),
      ),
      limits: v.optional(limits, {}),
      frontend: v.optional(
        v.pipe(
          plugin,
          described('The frontend plugin, by npm name or path; left out, the one the backend names.'),
        ),
      ),
    },
    MAPPING,
  ),
  described('A guest, by name.'),
);

const OPTION = 'a number, true, false or a text';
const options = v.pipe(
  v.record(
    v.string(),
    v.union([v.number(OPTION), v.boolean(OPTION), v.string(OPTION)], OPTION),
    'a mapping of options by name',
  ),
  v.maxEntries(MOST.options, `at most ${MOST.options} options`),
  described("The plugin's options, by the names that it declares."),
);
const ACCELERATOR = 'the npm name of a plugin, a path to it, or { plugin: NAME, options: { ... } }';
const accelerator = v.union(
  [
    plugin,
    v.strictObject(
      {
        plugin: v.pipe(plugin, described('Its npm name, or a path to it.')),
        options: v.optional(options, {}),
      },
      ACCELERATOR,
    ),
  ],
  ACCELERATOR,
);

const PLUGINS = 'a plugin, or a list of plugins: an npm name, a path, or { plugin: NAME, options: { ... } }';
const host = v.pipe(
  v.strictObject(
    {
      nic: v.optional(nic, {}),
      bridge: v.optional(bridge, {}),
      driverDomain: v.optional(driverDomain),
      eventChannels: v.optional(
        v.pipe(
          eventChannels,
          described(
            "The event channels that its driver domain's kernel uses, and its guests' where they say nothing.",
          ),
        ),
        '2-level',
      ),
      accelerator: v.optional(
        v.pipe(
          v.union(
            [
              ...accelerator.options,
              v.pipe(v.array(accelerator, PLUGINS), v.maxLength(MOST.accelerators, PLUGINS)),
            ],
            PLUGINS,
          ),
          described(
            'Backend plugins to load at the start, by npm name or path relative to the lab file, with their options.',
          ),
        ),
        [],
      ),
      guests: v.optional(
        v.pipe(
          v.record(name, guest, 'a mapping of guests by name'),
          v.maxEntries(MOST.guests, `at most ${MOST.guests} guests`),
          described('Guests, by name.'),
        ),
        {},
      ),
    },
    MAPPING,
  ),
  described('A host, by name; `{}` takes all defaults.'),
);

const BETWEEN = 'a list of two ports such as [alpha.eth0, beta.eth0]';
const wireEnd = text('a NIC port of a host such as alpha.eth0', END_PATTERN);
const wire = v.strictObject(
  {
    between: v.pipe(
      v.array(wireEnd, BETWEEN),
      v.length(2, BETWEEN),
      described('The two NIC ports that it joins, as HOST.PORT.'),
    ),
    rate: v.optional(rate),
    delay: v.optional(v.pipe(duration, described('How long a frame travels.')), 0),
    mtu: v.optional(mtu, 1500),
    faults: v.optional(
      v.pipe(
        v.strictObject(
          {
            drop: v.optional(v.pipe(probability, described('Of each frame: that it is lost.')), 0),
            corrupt: v.optional(v.pipe(probability, described('Of each frame: that a bit is changed.')), 0),
          },
          MAPPING,
        ),
        described("What goes wrong on it, by the lab's seed."),
      ),
      {},
    ),
  },
  MAPPING,
);

/** A lab file as it is written. */
export const LabFileSchema = v.pipe(
  v.strictObject(
    {
      lab: v.pipe(v.literal(LAB_VERSION, `${LAB_VERSION}`), described('The version of this format.')),
      name: v.optional(v.pipe(name, described("The lab's name; left out, the file's."))),
      seed: v.optional(v.pipe(whole(0, 0xffff_ffff), described('Where everything random begins.')), 1),
      hosts: v.pipe(
        v.record(name, host, 'a mapping of hosts by name'),
        v.minEntries(1, 'at least one host'),
        v.maxEntries(MOST.hosts, `at most ${MOST.hosts} hosts`),
        described('Hosts, by name.'),
      ),
      wires: v.optional(
        v.pipe(
          v.array(wire, 'a list of wires'),
          v.maxLength(MOST.wires, `at most ${MOST.wires} wires`),
          described('Wires between NIC ports.'),
        ),
        [],
      ),
    },
    'a mapping that begins with lab: 1',
  ),
  v.title('netaccel lab file'),
  described('Hosts, guests and wires for `netaccel up`.'),
);

/** A lab file, checked for shape and with its defaults. */
export type LabFile = v.InferOutput<typeof LabFileSchema>;
/** A host of it. */
export type LabFileHost = LabFile['hosts'][string];
/** A guest of a host. */
export type LabFileGuest = LabFileHost['guests'][string];
/** A backend plugin of a host, with options or without. */
export type LabFileAccelerator = v.InferOutput<typeof accelerator>;
/** A wire of it. */
export type LabFileWire = LabFile['wires'][number];
