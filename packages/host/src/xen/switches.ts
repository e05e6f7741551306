/**
 * The switches that a TAP for each vif is plugged into: a bridge of the kernel, or one of Open vSwitch. A TAP is
 * in before the vif's backend says that it is there.
 *
 * Called by `TapNetwork`. A TAP belongs to its `VifTap`, and goes with the process however that ends.
 */
import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import type { VifName } from '@netaccel/netback';
import type { Store } from '@netaccel/xen/store';
import { InterfaceControl, openTap } from '../tap/index.js';
import type { Libc } from '../tap/index.js';
import type { OpenTap } from './vif-tap.js';

/** What the toolstack says about a vif that its network wants to know. */
export interface VifKeys {
  /** Name that its interface shall have. */
  readonly interfaceName: string;
  /** Its MAC address in the guest. */
  readonly mac: string;
  /** `id` of the virtual machine, from its `vm` directory, or the domain's number. */
  readonly machine: string;
}

/** What TAPs are plugged into. */
export interface Switch {
  /** For people: `bridge xenbr0`. */
  readonly name: string;
  /** Makes a vif's TAP and plugs it in. */
  plug(vif: VifName, keys: VifKeys): Promise<OpenTap>;
  /** See {@link BackendNetwork.obstacle}. */
  obstacle(): Promise<string | undefined>;
}

/** The MAC address of a backend's interface, as Xen's scripts set it: the highest, so that no bridge takes it over. */
const BACKEND_MAC = 'fe:ff:ff:ff:ff:ff';
/** Bytes of an interface's name. */
const LONGEST_NAME = 15;

/** Reads what a network wants to know of a vif: in its backend directory, for the most part. */
export async function readVifKeys(store: Store, { guest, handle }: VifName): Promise<VifKeys> {
  const path = `backend/vif/${guest}/${handle}`;
  const wanted = await store.readOptional(`${path}/vifname`);
  const vm = await store.readOptional(`/local/domain/${guest}/vm`).catch(() => null);
  return {
    interfaceName: wanted === null || wanted === '' ? `vif${guest}.${handle}` : wanted.slice(0, LONGEST_NAME),
    mac: (await store.readOptional(`${path}/mac`)) ?? '',
    machine: vm?.split('/').at(-1) ?? String(guest),
  };
}

/** A TAP with the settings of a backend's interface, up, and in the network once `join` has run. */
async function makeTap(
  libc: Libc,
  name: string,
  mtu: number | null,
  join: (control: InterfaceControl) => void | Promise<void>,
): Promise<OpenTap> {
  const descriptor = openTap(libc, name, true);
  const control = new InterfaceControl(libc);
  try {
    control.setMacAddress(name, BACKEND_MAC);
    if (mtu !== null) control.setMtu(name, mtu);
    await join(control);
    control.setUp(name);
  } catch (error) {
    libc.close(descriptor);
    throw error;
  } finally {
    control.close();
  }
  return { name, descriptor, close: () => void libc.close(descriptor) };
}

function mtuOf(name: string): number | null {
  try {
    return Number(readFileSync(`/sys/class/net/${name}/mtu`, 'utf8'));
  } catch {
    return null;
  }
}

/** A bridge of the kernel. */
export class KernelBridge implements Switch {
  readonly name: string;

  constructor(
    private readonly libc: Libc,
    private readonly bridge: string,
  ) {
    this.name = `bridge ${bridge}`;
  }

  obstacle(): Promise<string | undefined> {
    const { bridge } = this;
    if (existsSync(`/sys/class/net/${bridge}/bridge`)) return Promise.resolve(undefined);
    const seen = existsSync(`/sys/class/net/${bridge}`)
      ? 'an interface that is none'
      : 'nothing of that name';
    return Promise.resolve(
      `expected a bridge ${bridge}, saw ${seen}; "ip link add ${bridge} type bridge" makes one`,
    );
  }

  plug(_vif: VifName, { interfaceName }: VifKeys): Promise<OpenTap> {
    return makeTap(this.libc, interfaceName, mtuOf(this.bridge), (control) => {
      control.joinBridge(interfaceName, this.bridge);
    });
  }
}

const VSCTL = 'ovs-vsctl';
/** Open vSwitch's daemon answers within this, or the vif is refused. */
const VSCTL_SECONDS = 30;

/** A bridge of Open vSwitch, through `ovs-vsctl`. */
export class OpenVSwitch implements Switch {
  readonly name: string;

  constructor(
    private readonly libc: Libc,
    private readonly bridge: string,
    private readonly run: (args: readonly string[]) => Promise<string> = vsctl,
  ) {
    this.name = `Open vSwitch bridge ${bridge}`;
  }

  async obstacle(): Promise<string | undefined> {
    try {
      await this.run(['br-exists', this.bridge]);
      return undefined;
    } catch (error) {
      return `expected an Open vSwitch bridge ${this.bridge}: ${error instanceof Error ? error.message : String(error)}`;
    }
  }

  async plug(vif: VifName, keys: VifKeys): Promise<OpenTap> {
    const { interfaceName } = keys;
    const tap = await makeTap(this.libc, interfaceName, mtuOf(this.bridge), async () => {
      await this.run(addPortArguments(this.bridge, vif, keys));
    });
    return {
      ...tap,
      close: () => {
        tap.close();
        // The port's row would stay behind, for an interface that is gone; nobody waits for it.
        this.run(['--if-exists', 'del-port', this.bridge, interfaceName]).catch(() => undefined);
      },
    };
  }
}

/**
 * What `ovs-vsctl` is told: the port, with the external ids that an OVN controller binds a logical port by, as
 * Xen's `vif-openvswitch` and XAPI write them.
 */
export function addPortArguments(bridge: string, { handle }: VifName, keys: VifKeys): string[] {
  const { interfaceName, mac, machine } = keys;
  const ids: Record<string, string> = {
    'iface-id': `${machine}.${handle}`,
    'attached-mac': mac,
    'iface-status': 'active',
    'vm-id': machine,
    'xen-vif-name': interfaceName,
  };
  return [
    // One that a killed predecessor left behind is replaced.
    ...['--if-exists', 'del-port', bridge, interfaceName, '--', 'add-port', bridge, interfaceName],
    ...['--', 'set', 'interface', interfaceName],
    ...Object.entries(ids).map(([key, value]) => `external_ids:${key}="${value.replaceAll('"', '')}"`),
  ];
}

async function vsctl(args: readonly string[]): Promise<string> {
  try {
    return (await promisify(execFile)(VSCTL, [`--timeout=${VSCTL_SECONDS}`, ...args])).stdout;
  } catch (error) {
    const { code, stderr, message } = error as Error & { code?: unknown; stderr?: string };
    if (code === 'ENOENT')
      throw new Error(`${VSCTL} is not in PATH; install openvswitch-switch`, { cause: error });
    const said = stderr === undefined || stderr === '' ? message : stderr.trim();
    throw new Error(`${VSCTL} ${args.join(' ')}: ${said}`, { cause: error });
  }
}
