/**
 * All vifs on a learning bridge of this process, with one port of `host` as the way out: a TAP, or a capture file
 * that is replayed at everyone. For hosts without a bridge of their own, and for trying things out.
 */
import type { Frame, FrameSink } from '@netaccel/core-hooks';
import type { VifName, VifNetwork } from '@netaccel/netback';
import type { Domain } from '@netaccel/xen';
import { Bridge } from '../ports/bridge.js';
import { DomainInterface } from '../ports/domain-interface.js';
import { FilePort } from '../ports/file-port.js';
import { TapPort } from '../ports/tap-port.js';
import { InterfaceControl, TapDevice, openTap } from '../tap/index.js';
import type { Libc } from '../tap/index.js';
import { wireFrames } from './network.js';
import type { BackendNetwork, Traffic } from './network.js';
import type { WhenReadable } from './vif-tap.js';

/** Which port. */
export type PortSpec =
  { readonly kind: 'tap'; readonly name: string } | { readonly kind: 'file'; readonly file: string };

const FRAGMENTS = 64;
const FILE_MTU = 1500;

/** Reads `tap:NAME` or `file:PATH`; null when it is neither. */
export function parsePort(text: string): PortSpec | null {
  const at = text.indexOf(':');
  const [kind, value] = [text.slice(0, at), text.slice(at + 1)];
  if (at < 0 || value === '') return null;
  if (kind === 'tap') return { kind, name: value };
  return kind === 'file' ? { kind, file: value } : null;
}

/** See the top of the file. */
export class PortNetwork implements BackendNetwork {
  readonly name: string;
  private readonly passed: Traffic = { frames: 0, wireFrames: 0, bytes: 0, systemCalls: 0 };
  private readonly bridge: Bridge;
  private readonly own: DomainInterface;
  private readonly endings: (() => void)[] = [];
  private out: FrameSink | null = null;

  /** @throws TapError, CaptureFileError */
  constructor(
    private readonly domain: Domain,
    libc: Libc,
    whenReadable: WhenReadable,
    spec: PortSpec,
  ) {
    this.name = spec.kind === 'tap' ? `TAP ${spec.name}` : `capture file ${spec.file}`;
    this.bridge = new Bridge(domain.memory, domain.loop);
    this.own = new DomainInterface(
      domain,
      this.bridge,
      { deliver: (frame) => this.out?.deliver(frame), flush: () => this.out?.flush() },
      'port',
    );
    if (spec.kind === 'tap') this.openTap(libc, whenReadable, spec.name);
    else this.openFile(spec.file);
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
    this.own.close();
  }

  private openTap(libc: Libc, whenReadable: WhenReadable, name: string): void {
    const descriptor = openTap(libc, name, true);
    const control = new InterfaceControl(libc);
    control.setUp(name);
    control.close();
    const device = new TapDevice(libc, { name, descriptor }, this.domain.memory.bytes, FRAGMENTS);
    const port = new TapPort(this.domain.memory, device, this.own);
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

  private openFile(file: string): void {
    const { domain } = this;
    const port = new FilePort(
      domain.memory,
      domain.loop,
      this.own,
      { file, loop: true },
      FILE_MTU,
      (line) => {
        domain.log('warn', line);
      },
    );
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
