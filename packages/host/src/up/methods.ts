/** What a running lab answers its clients. Arguments are somebody else's: each is judged before use. */
import type { Arguments, Methods, Streams } from '../control/socket.js';
import type { GivenOptions } from '../plugin-options.js';
import { setAccel } from '../machine/toolstack.js';
import { CaptureSession } from './capture-session.js';
import type { DriverDescription } from './described.js';
import { explainGuest } from './explain.js';
import { findNamed, fullName } from './names.js';
import type { RunningLab } from './running-lab.js';

/** Number of every host's driver domain, and of every guest's vif. */
const DRIVER_DOMAIN = 0;
const HANDLE = 0;

/** How a program gets into a guest's network. */
export interface Entrance {
  /** The lab's process. */
  readonly pid: number;
  /** Path of the network namespace. */
  readonly network: string;
  /** Path of the user namespace that owns it, or null when it is the client's own. */
  readonly user: string;
  /** The guest's full name. */
  readonly name: string;
}

/** Questions with one answer. */
export function methodsOf(running: RunningLab): Methods {
  const guestOf = (args: Arguments) => findNamed(running.description, text(args, 'target'), ['guest']);
  const hostOf = (args: Arguments) => findNamed(running.description, text(args, 'host'), ['host']).host.name;
  return {
    describe: () => running.report(),
    explain: (args) => explainGuest(running, guestOf(args)),
    load: async (args) => {
      const host = hostOf(args);
      return {
        host,
        plugin: await running.host(host).driver.ask('load', text(args, 'plugin'), options(args)),
      };
    },
    unload: async (args) => {
      const host = hostOf(args);
      const plugin = text(args, 'plugin');
      await running.host(host).driver.ask('unload', plugin);
      return { host, plugin };
    },
    allow: async (args) => {
      const { host, guest, domid } = guestOf(args);
      const wanted = optionalText(args, 'port') ?? guest.accel ?? host.bridge.ports[0] ?? null;
      const { port } = findNamed(running.description, `${host.name}.${wanted ?? ''}`, ['port']);
      await setAccel(running.host(host.name).store, DRIVER_DOMAIN, domid, HANDLE, port);
      return { guest: `${host.name}.${guest.name}`, port };
    },
    forbid: async (args) => {
      const { host, guest, domid } = guestOf(args);
      await setAccel(running.host(host.name).store, DRIVER_DOMAIN, domid, HANDLE, null);
      return { guest: `${host.name}.${guest.name}`, port: null };
    },
    migrate: (args) => {
      const { host, guest } = guestOf(args);
      return running.migrate(guest.name, host.name, text(args, 'host'));
    },
    enter: (args) => Promise.resolve(entrance(running, text(args, 'target'))),
  };
}

/** Streams. */
export function streamsOf(running: RunningLab): Streams {
  return {
    capture: async (args, out) => {
      const kinds = ['guest', 'host', 'port', 'vi'] as const;
      const target = findNamed(running.description, text(args, 'target'), kinds, (host, port) =>
        running.visOf(host, port),
      );
      const request = { target, count: whole(args, 'count'), snapBytes: whole(args, 'snapBytes') };
      const vis = await driverVis(running);
      const session = new CaptureSession(running.description, running.captures, vis, request, out);
      const stop = running.onMove(({ guest, from, to }) => {
        session.guestMoved(
          guest,
          from,
          running.description.hosts.find(({ name }) => name === to)!,
        );
      });
      return session.run().finally(stop);
    },
  };
}

function entrance({ description, networks }: RunningLab, name: string): Entrance {
  const named = findNamed(description, name, ['guest', 'host']);
  const network = networks?.namespaceOf(named.host.name, named.kind === 'guest' ? named.guest.name : null);
  if (network === undefined) {
    const what =
      named.kind === 'guest' ? `port: ${named.guest.port.kind}` : 'no interface of its own behind a TAP';
    throw new Error(
      `expected a network namespace of ${fullName(named)}, saw ${what}; give it "port: tap" in ${description.file}`,
    );
  }
  return {
    pid: process.pid,
    network: network.path,
    user: `/proc/${process.pid}/ns/user`,
    name: fullName(named),
  };
}

async function driverVis(running: RunningLab): Promise<Map<string, number[]>> {
  const found = await Promise.all(
    running.description.hosts.map(async ({ name }) => {
      const { ports } = (await running.host(name).driver.ask('describe')) as DriverDescription;
      return [name, ports.flatMap(({ viId }) => (viId === null ? [] : [viId]))] as const;
    }),
  );
  return new Map(found);
}

function text(args: Arguments, key: string): string {
  const value = args[key];
  if (typeof value === 'string' && value !== '') return value;
  throw new Error(`${key}: expected a text, saw ${JSON.stringify(value) ?? 'nothing'}`);
}

/** Options of a plugin: whether they fit, its schema says. */
function options(args: Arguments): GivenOptions {
  const given = args['options'] ?? {};
  if (typeof given === 'object' && !Array.isArray(given)) return given as GivenOptions;
  throw new Error(`options: expected options by name, saw ${JSON.stringify(given)}`);
}

function optionalText(args: Arguments, key: string): string | null {
  return args[key] === undefined || args[key] === null ? null : text(args, key);
}

function whole(args: Arguments, key: string): number {
  const value = args[key] ?? 0;
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  throw new Error(`${key}: expected a whole number from 0, saw ${JSON.stringify(value)}`);
}
