/**
 * All vifs on a learning bridge of this process, with one port of `host` as the way out: a TAP, a model NIC
 * whose wire leads to a TAP, or a capture file that is replayed at everyone. For hosts
 * without a bridge of their own, and for trying things out.
 */
import { AcceleratorRegistry } from '@netaccel/core-hooks';
import type { BackendAcceleratorDefinition, Frame, FrameSink } from '@netaccel/core-hooks';
import type { Accelerators, VifName, VifNetwork } from '@netaccel/netback';
import type { NativeDomain } from '@netaccel/xen/native';
import { Bridge } from '../ports/bridge.js';
import { DomainInterface } from '../ports/domain-interface.js';
import { FilePort } from '../ports/file-port.js';
import { TapPort } from '../ports/tap-port.js';
import { InterfaceControl, TapDevice, openTap } from '../tap/index.js';
import type { Libc } from '../tap/index.js';
import { ModelNic } from './model-nic.js';
import { wireFrames } from './network.js';
import type { BackendNetwork, Traffic } from './network.js';
import type { WhenReadable } from './vif-tap.js';

/** Which port. */
export type PortSpec =
  | { readonly kind: 'tap'; readonly name: string }
  | { readonly kind: 'nic'; readonly name: string }
  | { readonly kind: 'file'; readonly file: string };

const FRAGMENTS = 64;
const FILE_MTU = 1500;

/** The model NIC's port: what a vif's key `accel` says to be accelerated on it. */
export const NIC_PORT = 'nic0';
/** Guests that may be accelerated at a time. */
const NIC_GUESTS = 16;
const NIC_MTU = 1500;

/** Reads `tap:NAME`, `nic:NAME` or `file:PATH`; null when it is none. */
export function parsePort(text: string): PortSpec | null {
  const at = text.indexOf(':');
  const [kind, value] = [text.slice(0, at), text.slice(at + 1)];
  if (at < 0 || value === '') return null;
  if (kind === 'tap' || kind === 'nic') return { kind, name: value };
  return kind === 'file' ? { kind, file: value } : null;
}

/** See the top of the file. */
export class PortNetwork implements BackendNetwork {
  readonly name: string;
  private readonly passed: Traffic = { frames: 0, wireFrames: 0, bytes: 0, systemCalls: 0 };
  private readonly bridge: Bridge;
  /** Plugins of the model NIC, when there is one. */
  readonly accelerators: Accelerators | undefined;
  private readonly endings: (() => void)[] = [];
  private out: FrameSink | null = null;

  /** @throws TapError, CaptureFileError */
  constructor(
    private readonly domain: NativeDomain,
    libc: Libc,
    whenReadable: WhenReadable,
    spec: PortSpec,
  ) {
    this.bridge = new Bridge(domain.memory, domain.loop);
    if (spec.kind === 'nic') {
      this.name = `model NIC with TAP ${spec.name}`;
      this.accelerators = this.openNic(libc, spec.name);
      return;
    }
    this.name = spec.kind === 'tap' ? `TAP ${spec.name}` : `capture file ${spec.file}`;
    const own = new DomainInterface(
      domain,
      this.bridge,
      { deliver: (frame) => this.out?.deliver(frame), flush: () => this.out?.flush() },
      'port',
    );
    if (spec.kind === 'tap') this.openTap(libc, whenReadable, spec.name, own);
    else this.openFile(spec.file, own);
    this.endings.push(() => {
      own.close();
    });
  }

  obstacle(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  open({ guest, handle }: VifName): Promise<VifNetwork> {
    let vif: FrameSink | null = null;
    const port = this.bridge.attach(`vif${guest}.${handle}`, {
      deliver: (frame) => {
        this.count(frame);
        vif?.deliver(frame);
      },
      flush: () => vif?.flush(),
    });
    const sink: FrameSink = {
      deliver: (frame) => {
        this.count(frame);
        port.input.deliver(frame);
      },
      flush: () => {
        port.input.flush();
      },
    };
    return Promise.resolve({
      sink,
      attach: (served) => {
        vif = served;
      },
      detach: () => {
        port.detach();
        vif = null;
      },
    });
  }

  traffic(): Readonly<Traffic> {
    return this.passed;
  }

  describe(): Readonly<Record<string, unknown>> {
    return { name: this.name, bridge: this.bridge.describe() };
  }

  close(): void {
    for (const end of this.endings.splice(0)) end();
  }

  private makeTap(libc: Libc, name: string): TapDevice {
    const descriptor = openTap(libc, name, true);
    const control = new InterfaceControl(libc);
    control.setUp(name);
    control.close();
    return new TapDevice(libc, { name, descriptor }, this.domain.memory.bytes, FRAGMENTS);
  }

  private openNic(libc: Libc, name: string): Accelerators {
    const device = this.makeTap(libc, name);
    const nic = new ModelNic({
      domain: this.domain,
      name: NIC_PORT,
      guests: NIC_GUESTS,
      mtu: NIC_MTU,
      device,
    });
    const port = this.bridge.attach(NIC_PORT, nic.port);
    nic.port.upstream = port.input;
    this.endings.push(() => {
      port.detach();
      nic.close();
      libc.close(device.descriptor);
    });
    return {
      registry: new AcceleratorRegistry<BackendAcceleratorDefinition>(),
      port: (named) => (named === NIC_PORT ? nic.port : undefined),
    };
  }

  private openTap(libc: Libc, whenReadable: WhenReadable, name: string, own: DomainInterface): void {
    const device = this.makeTap(libc, name);
    const { descriptor } = device;
    const port = new TapPort(this.domain.memory, device, own);
    this.out = {
      deliver: (frame) => {
        port.deliver(frame);
        this.passed.systemCalls++;
      },
      flush: () => undefined,
    };
    const readable = whenReadable(descriptor, () => {
      const before = device.calls;
      port.poll();
      this.passed.systemCalls += device.calls - before;
      if (device.failed) {
        this.domain.log('error', `${name}: the interface is gone: ${device.statistics.lastRefusal}`);
        readable.pause();
      }
    });
    this.endings.push(() => {
      readable.close();
      port.close();
      libc.close(descriptor);
    });
  }

  private openFile(file: string, own: DomainInterface): void {
    const { domain } = this;
    const port = new FilePort(domain.memory, domain.loop, own, { file, loop: true }, FILE_MTU, (line) => {
      domain.log('warn', line);
    });
    this.out = port;
    port.start();
    this.endings.push(() => {
      port.close();
    });
  }

  private count(frame: Frame): void {
    const { passed } = this;
    passed.frames++;
    passed.wireFrames += wireFrames(frame);
    passed.bytes += frame.totalBytes;
  }
}
