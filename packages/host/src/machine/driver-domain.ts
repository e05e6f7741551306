/**
 * What runs in a driver domain: the NIC ports, the bridge, netback for every vif that the toolstack makes, and the
 * backend plugins.
 *
 * The same in every machine; who made the domain says where the hardware is. Everything is given back by `stop`.
 */
import { AcceleratorRegistry } from '@netaccel/core-hooks';
import type { BackendAcceleratorDefinition, FrameSink, NicPortHold, Registers } from '@netaccel/core-hooks';
import { NetbackDriver, defaultLimits } from '@netaccel/netback';
import type { Limits } from '@netaccel/netback';
import type { NicControl } from '@netaccel/nic-vi';
import type { Domain } from '@netaccel/xen';
import { configure } from '../plugin-options.js';
import type { GivenOptions } from '../plugin-options.js';
import { describePlugins, loadPlugin } from '../plugins.js';
import { Bridge } from '../ports/bridge.js';
import type { BridgePort } from '../ports/bridge.js';
import { DomainInterface } from '../ports/domain-interface.js';
import { NicPort } from '../ports/nic-port.js';
import type { NicPortSizes } from '../ports/nic-port.js';
import { VifDesk } from './vif-desk.js';

/**
 * Frames that wait for a guest to post buffers. Linux bounds bytes alone (512 KiB); as much in pages of ordinary
 * frames lets a whole window of 1500-byte segments wait.
 */
const VIF_LIMITS = { backlogBytes: 2 * 1024 * 1024, backlogFrames: 1024 };

/** The hardware of a driver domain. */
export interface Hardware {
  /** NIC ports by name. */
  readonly ports: readonly { readonly name: string; readonly control: NicControl }[];
  /** A register page of this domain, as the NIC sees writes to it. */
  registers(page: number): Registers;
}

/** How a driver domain is set up. */
export interface DriverDomainOptions {
  /** The domain. */
  readonly domain: Domain;
  /** Its NICs. */
  readonly hardware: Hardware;
  /** Names of the NIC ports that the bridge joins with the vifs; the others are held for plugins only. */
  readonly bridged: readonly string[];
  /** Bridge ageing. */
  readonly ageingMs: number;
  /** Whether received TCP segments are joined at the NIC ports. */
  readonly merging: boolean;
  /** Folder that plugin names are resolved from. */
  readonly pluginsFrom: string;
  /** Sizes of the NIC ports' driver, where they are not the usual ones. */
  readonly nicPorts?: Partial<NicPortSizes>;
  /** Bounds of a vif, where they are not the usual ones. */
  readonly vifLimits?: Partial<Limits>;
}

/** A driver domain's programs. */
export class DriverDomain {
  /** The bridge that everything meets on. */
  readonly bridge: Bridge;
  /** Backend plugins. */
  readonly registry = new AcceleratorRegistry<BackendAcceleratorDefinition>();
  /** NIC ports by name. */
  readonly ports = new Map<string, NicPort>();
  /** @internal The vifs' ports of the bridge. */
  readonly desk: VifDesk;
  /** Netback. */
  readonly driver: NetbackDriver;
  /** The domain's own interface, when it has one. */
  ownInterface: DomainInterface | null = null;
  /** What plugins were loaded by, in this order. */
  readonly loaded: { readonly name: string; readonly options: GivenOptions }[] = [];
  /** Frames that somebody still had when their memory was given back by `stop`: a fault of whoever had them. */
  framesLeft = 0;
  private readonly bridgePorts: BridgePort[] = [];

  constructor(private readonly options: DriverDomainOptions) {
    const { domain, hardware } = options;
    this.bridge = new Bridge(domain.memory, domain.loop, options.ageingMs);
    for (const { name, control } of hardware.ports) {
      const port = new NicPort({
        domain,
        name,
        control,
        registers: (page) => hardware.registers(page),
        merging: options.merging,
        sizes: options.nicPorts ?? {},
      });
      this.ports.set(name, port);
      if (!options.bridged.includes(name)) continue;
      const bridgePort = this.bridge.attach(name, port);
      port.upstream = bridgePort.input;
      this.bridgePorts.push(bridgePort);
    }
    const limits = { ...defaultLimits, ...VIF_LIMITS, ...options.vifLimits };
    this.desk = new VifDesk(domain, this.bridge, this.ports, limits);
    this.driver = new NetbackDriver({
      domain,
      limits,
      accelerators: {
        registry: this.registry,
        port: (name): NicPortHold | undefined => this.ports.get(name),
      },
      network: (vif) => this.desk.network(vif),
    });
  }

  /** Begins to serve vifs. */
  start(): Promise<void> {
    return this.driver.start();
  }

  /** Gives the domain an interface of its own on the bridge. */
  openInterface(receiver: FrameSink): DomainInterface {
    this.ownInterface = new DomainInterface(this.options.domain, this.bridge, receiver, 'own');
    return this.ownInterface;
  }

  /**
   * Loads a backend plugin by npm name or path: vifs whose key names one of its NIC's ports are probed.
   * @param options what is set of its options.
   * @throws PluginLoadError, ContractMismatchError, RegistryError, PluginOptionsError; nothing is changed then.
   */
  async load(name: string, options: GivenOptions = {}): Promise<string> {
    const definition = await loadPlugin(name, 'backend', this.options.pluginsFrom);
    this.registry.register(configure(definition, options));
    this.loaded.push({ name, options });
    return definition.name;
  }

  /** Unloads a backend plugin; resolves when no vif uses it. */
  unload(name: string): Promise<void> {
    this.loaded.splice(0, this.loaded.length, ...this.loaded.filter((other) => other.name !== name));
    return this.registry.unregister(name);
  }

  /** State of everything, plain data. */
  describe(): Readonly<Record<string, unknown>> {
    return {
      bridge: this.bridge.describe(),
      vifPorts: this.desk.describe(),
      formerVifPorts: { ...this.desk.former },
      ports: [...this.ports.values()].map((port) => port.describe()),
      plugins: describePlugins(this.registry),
      netback: {
        ...this.driver.describe(),
        vifs: this.driver.vifs().map((vif) => ({ ...vif.describe(), statistics: vif.statistics() })),
      },
    };
  }

  /** Takes all of it down: vifs first, then ports. */
  async stop(): Promise<void> {
    await this.driver.stop();
    const ports = [...this.ports.values()];
    for (const port of this.bridgePorts) port.detach();
    // The NIC lets go of what it had to send before anybody's memory goes.
    for (const port of ports) port.close();
    this.ownInterface?.close();
    this.desk.close();
    this.framesLeft = ports.reduce((sum, port) => sum + port.framesLeft, 0);
    this.framesLeft += (this.ownInterface?.framesOut ?? 0) + this.desk.framesOut;
  }
}
