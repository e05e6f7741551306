/**
 * A guest's vif as an interface of its kernel: netfront in this process, a TAP on the other side of it.
 *
 * The same on every machine: the command (commands/xen-frontend.ts) gives it a domain of a real host and a TAP. It
 * owns the port and the drivers; domain and TAP stay their maker's.
 */
import { stateName } from '@netaccel/xen';
import type { Domain, XenbusStateName } from '@netaccel/xen';
import type { Interest, NativeLoop } from '@netaccel/xen/native';
import type { NetfrontState } from '@netaccel/netfront';
import { ReceiveMerger } from '@netaccel/nic-vi';
import { Guest } from '../machine/guest.js';
import { TapPort } from '../ports/tap-port.js';
import type { TapDevice } from '../tap/index.js';
import { FRONTEND_PATIENCE } from './patience.js';
import { StateLines } from './state-lines.js';

/** What a frontend is made with. */
export interface XenFrontendOptions {
  /** The guest. */
  readonly domain: Domain & { readonly loop: NativeLoop };
  /** Number of the vif. */
  readonly handle: number;
  /** The TAP, open and not yet up. */
  readonly device: TapDevice;
  /** Queues to ask for at most. */
  readonly queues: number;
  /** Whether the backend is asked to keep pages mapped. */
  readonly staticGrants?: boolean;
  /** Accelerator plugins that the backend may name. */
  readonly plugins: readonly string[];
  /** Folder that plugin names are resolved from. */
  readonly pluginsFrom: string;
  /** Takes each change. */
  readonly record: (record: FrontendRecord) => void;
}

/** One change, as it is logged: a line of JSON each. */
export interface FrontendRecord {
  readonly event: 'frontend';
  readonly vif: number;
  readonly frontend: XenbusStateName;
  readonly backend: XenbusStateName;
  readonly carrier: boolean;
  readonly accelerator: string;
  readonly reason: string | null;
  /** Changes before this one that were not logged: they came too fast. */
  readonly leftOut?: number;
}

/** Who the connected vif is, for the interface. */
export interface ConnectedVif {
  /** `00:16:3e:01:02:03`. */
  readonly mac: string;
  /** Largest IP packet. */
  readonly mtu: number;
}

/** See the top of the file. */
export class XenFrontend {
  private readonly guest: Guest;
  private readonly port: TapPort;
  /** Joins the TCP segments of a batch: the kernel then wakes who receives them once, not for each. */
  private readonly merger: ReceiveMerger;
  private readonly interest: Interest;
  private last = '';
  /** A backend decides how often the device changes. */
  private readonly lines: StateLines<FrontendRecord>;

  constructor(private readonly options: XenFrontendOptions) {
    this.lines = new StateLines(options.domain.loop, (line, leftOut) => {
      options.record(leftOut === 0 ? line : { ...line, leftOut });
    });
    const { domain, device, handle, queues, staticGrants, plugins, pluginsFrom } = options;
    this.guest = new Guest({
      domain,
      handle,
      queues,
      pluginsFrom,
      allowed: plugins,
      netfront: {
        deadlines: FRONTEND_PATIENCE,
        features: { staticGrants: staticGrants ?? false },
      },
      stack: {
        deliver: (frame) => {
          this.merger.push(frame);
        },
        flush: () => {
          this.merger.flush();
        },
      },
      onReady: () => {
        this.pump();
      },
      onState: (state) => {
        this.changed(state);
      },
    });
    this.port = new TapPort(domain.memory, device, this.guest.netfront);
    this.merger = new ReceiveMerger(domain.memory, this.port);
    this.interest = domain.loop.whenReadable(device.descriptor, () => {
      this.pump();
    });
    this.interest.pause();
  }

  /** Connects; resolves when frames flow. @throws DeviceError, ConnectError, StoreError. */
  async start(signal: AbortSignal): Promise<ConnectedVif> {
    const { netfront } = this.guest;
    await netfront.start({ signal });
    const { mac, mtu } = netfront.vif!;
    this.pump();
    return { mac: Array.from(mac, (byte) => byte.toString(16).padStart(2, '0')).join(':'), mtu };
  }

  /** State of everything, plain data. */
  describe(): Readonly<Record<string, unknown>> {
    const { device } = this.options;
    return {
      ...this.guest.describe(),
      tap: { name: device.name, ...device.statistics, ...this.port.statistics },
    };
  }

  /** Closes the vif and gives everything back. */
  async stop(): Promise<void> {
    this.interest.close();
    this.port.close();
    await this.guest.stop();
    this.lines.flush();
    this.merger.flush();
  }

  /** Reads what the kernel sends; not at all while netfront takes nothing. */
  private pump(): void {
    this.port.poll();
    if (this.port.device.failed || this.port.stopped) this.interest.pause();
    else this.interest.resume();
  }

  private changed({ frontend, backend, carrier, accelerator, reason }: NetfrontState): void {
    const record: FrontendRecord = {
      event: 'frontend',
      vif: this.options.handle,
      frontend: stateName(frontend),
      backend: stateName(backend),
      carrier,
      accelerator,
      reason,
    };
    const text = JSON.stringify(record);
    if (text === this.last) return;
    this.last = text;
    this.lines.add(record);
  }
}
