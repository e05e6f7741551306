/** A TAP for each vif, plugged into a switch outside of this process. */
import type { VifName, VifNetwork } from '@netaccel/netback';
import type { Domain } from '@netaccel/xen';
import type { Libc } from '../tap/index.js';
import type { BackendNetwork, Traffic } from './network.js';
import { readVifKeys } from './switches.js';
import type { Switch } from './switches.js';
import { VifTap } from './vif-tap.js';
import type { WhenReadable } from './vif-tap.js';

/** See the top of the file. */
export class TapNetwork implements BackendNetwork {
  private readonly passed: Traffic = { frames: 0, wireFrames: 0, bytes: 0, systemCalls: 0 };
  private readonly taps = new Set<VifTap>();

  constructor(
    private readonly domain: Domain,
    private readonly libc: Libc,
    private readonly whenReadable: WhenReadable,
    private readonly to: Switch,
  ) {}

  get name(): string {
    return this.to.name;
  }

  obstacle(): Promise<string | undefined> {
    return this.to.obstacle();
  }

  async open(vif: VifName): Promise<VifNetwork> {
    const { domain, libc, whenReadable } = this;
    const tap = await this.to.plug(vif, await readVifKeys(domain.store, vif));
    const made: VifTap = new VifTap(domain, libc, tap, whenReadable, this.passed, () => {
      this.taps.delete(made);
    });
    this.taps.add(made);
    return made;
  }

  traffic(): Readonly<Traffic> {
    return this.passed;
  }

  describe(): Readonly<Record<string, unknown>> {
    return { name: this.name, taps: [...this.taps].map((tap) => tap.describe()) };
  }

  close(): void {
    for (const tap of [...this.taps]) tap.detach();
  }
}
