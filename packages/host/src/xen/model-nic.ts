/**
 * A model NIC in a driver domain of a real host: guests' VIs over real grants and event channels, and a wire to a TAP.
 *
 * `port` is the card's driver, for the vifs' bridge and for backend plugins; at the wire's other end is a second card
 * with a TAP behind it, so that the kernel of this domain is the network. Made and closed by who runs the backend.
 */
import type { Frame } from '@netaccel/core-hooks';
import type { Domain } from '@netaccel/xen';
import type { Interest, NativeDomain } from '@netaccel/xen/native';
import { createHardware } from '../machine/hardware.js';
import type { LabHardware } from '../machine/hardware.js';
import { microseconds } from '../machine/time.js';
import { Bridge } from '../ports/bridge.js';
import { DomainInterface } from '../ports/domain-interface.js';
import { NicPort } from '../ports/nic-port.js';
import { TapPort } from '../ports/tap-port.js';
import type { TapDevice } from '../tap/index.js';

/** What a model NIC is made with. */
export interface ModelNicOptions {
  /** The driver domain; `raise` is how the card interrupts. */
  readonly domain: Domain & Pick<NativeDomain, 'raise' | 'loop'>;
  /** Name of the card's port: what a vif's key `accel` says. */
  readonly name: string;
  /** Guests that may have a VI at a time. */
  readonly guests: number;
  /** Largest IP packet of the wire. */
  readonly mtu: number;
  /** The TAP at the wire's other end. */
  readonly device: TapDevice;
}

/** Pages that a guest's plugin may have the card know. */
const PAGES_PER_GUEST = 2048;
/** What the two ports' own drivers have it know. */
const OWN_PAGES = 4096;
const FILTERS_PER_GUEST = 128;
/** VIs of the ports' own drivers, and one that is on its way out. */
const OWN_VIS = 4;
const FAR = 'far';

/** See the top of the file. */
export class ModelNic {
  /** The card's port and its driver. */
  readonly port: NicPort;
  private readonly lab: LabHardware;
  private readonly far: NicPort;
  private readonly bridge: Bridge;
  private readonly own: DomainInterface;
  private readonly tap: TapPort;
  private readonly interest: Interest;
  private readonly free: () => void;

  constructor(options: ModelNicOptions) {
    const { domain, name, guests, mtu, device } = options;
    const pages: number[] = [];
    const config = (number: number, vis: number) => ({
      ports: 1,
      vis,
      filters: guests * FILTERS_PER_GUEST + 16,
      bufferPages: guests * PAGES_PER_GUEST + OWN_PAGES,
      mtu,
      macs: [[0x02, 0x78, 0x65, 0, number, 0]],
    });
    this.lab = createHardware(
      domain.memory,
      (count) => {
        pages.push(domain.pages.allocate(count));
        return pages.at(-1)!;
      },
      [
        { host: name, ports: [name], config: config(0, guests + OWN_VIS) },
        { host: FAR, ports: [FAR], config: config(1, OWN_VIS) },
      ],
      [
        {
          ends: [
            [0, 0],
            [1, 0],
          ],
          mtu,
          settings: {},
        },
      ],
      {
        interrupt: (vector) => {
          domain.raise(vector);
        },
        clock: microseconds,
        concurrent: false,
      },
    );
    const [near, far] = this.lab.nics as [LabHardware['nics'][number], LabHardware['nics'][number]];
    this.port = new NicPort({
      domain,
      name,
      control: near.control(0),
      registers: (page) => this.lab.registers(near, page),
      merging: true,
    });
    this.bridge = new Bridge(domain.memory, domain.loop);
    this.far = new NicPort({
      domain,
      name: FAR,
      control: far.control(0),
      registers: (page) => this.lab.registers(far, page),
      merging: true,
    });
    const port = this.bridge.attach(FAR, this.far);
    this.far.upstream = port.input;
    this.own = new DomainInterface(
      domain,
      this.bridge,
      { deliver: (frame: Frame) => this.tap.deliver(frame), flush: () => undefined },
      'own',
    );
    this.tap = new TapPort(domain.memory, device, this.own);
    this.interest = domain.loop.whenReadable(device.descriptor, () => {
      this.tap.poll();
      if (device.failed) this.interest.pause();
    });
    this.free = () => {
      for (const page of pages) domain.pages.free(page);
    };
  }

  /** State, for people. */
  describe(): Readonly<Record<string, unknown>> {
    return { nic: this.lab.nics[0]!.describe(), bridge: this.bridge.describe(), tap: this.tap.statistics };
  }

  /** Gives everything back, after the driver domain's programs have stopped. */
  close(): void {
    this.interest.close();
    this.tap.close();
    this.own.close();
    this.far.close();
    this.port.close();
    this.free();
  }
}
