/**
 * What a rule's check works with: hosts made for it, vifs with the plugin attached and warmed up, frames of the
 * guest's and its neighbours', and the words of a failure.
 */
import type { Capabilities } from '../capabilities.js';
import { FlatMemory } from '../testing/flat-memory.js';
import { frameOf, tagOf } from './frames.js';
import type { FrameSpec } from './frames.js';
import type { Delivered } from './host/guest-side.js';
import { ScriptedHost } from './host/host.js';
import type { HostOptions } from './host/host.js';
import type { Order, Vif } from './host/vif.js';
import { ConformanceError, UntestedError } from './rule.js';
import type { Finding, Rule } from './rule.js';
import type { ConformanceSubject } from './subject.js';

/** Addresses of neighbours that are across the wire: the first of them is the one that frames go to. */
export const NEIGHBOUR = Uint8Array.of(2, 0, 0, 0, 2, 1);
/** Pages of a host's memory. */
const PAGES = 2048;
const SEND_TRIES = 24;
const FLOW_TRIES = 40;
const PAUSE_MS = 40;

/** One check's surroundings. */
export class Lab {
  /** Breaches that any check may see, by rule. */
  readonly breaches: { readonly rule: string; readonly seen: string }[] = [];
  private readonly hosts: ScriptedHost[] = [];
  private state: number;

  /**
   * @param rule the rule that is checked.
   * @param subject what is judged.
   * @param seed of everything that is random.
   * @param effort how much of what is tried many times.
   * @param memories that earlier hosts had, for the next ones.
   */
  constructor(
    readonly rule: Rule,
    readonly subject: ConformanceSubject,
    readonly seed: number,
    private readonly effort: number,
    private readonly memories: FlatMemory[],
  ) {
    this.state = seed >>> 0 || 1;
  }

  /** What the plugin says it can do. */
  get can(): Capabilities {
    return this.subject.frontend.capabilities;
  }

  /** The promise is broken. */
  fail(finding: Finding): never {
    throw new ConformanceError(this.rule.id, finding, this.rule.docs);
  }

  /** Fails unless it is so. */
  expect(so: boolean, finding: () => Finding): void {
    if (!so) this.fail(finding());
  }

  /** A random whole number below `below`. */
  random(below: number): number {
    // xorshift32: small, and the same everywhere.
    let x = this.state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.state = x >>> 0;
    return this.state % below;
  }

  /** How often something is tried that is tried `times` times with full effort. */
  times(times: number): number {
    return Math.max(1, Math.ceil(times * this.effort));
  }

  /** A host. */
  host(options: HostOptions = {}): ScriptedHost {
    const host = new ScriptedHost(
      this.subject,
      (rule, seen) => this.breaches.push({ rule, seen }),
      this.memories.pop() ?? new FlatMemory(PAGES),
      options,
    );
    this.hosts.push(host);
    return host;
  }

  /** A vif with both halves attached. */
  async attached(options: HostOptions = {}, order?: Order): Promise<Vif> {
    const vif = this.host(options).vif();
    await this.attach(vif, order);
    return vif;
  }

  /** Attaches both halves, or the check cannot be made. */
  async attach(vif: Vif, order?: Order): Promise<void> {
    if ((await vif.attach(order)) !== null) throw new UntestedError('life.attaches');
  }

  /** A vif whose plugin sends frames to {@link NEIGHBOUR}. */
  async sending(options: HostOptions = {}): Promise<Vif> {
    const vif = await this.attached(options);
    if (!(await this.warm(vif))) throw new UntestedError('transmit.sends');
    return vif;
  }

  /** Lets the plugin see its neighbour on the slow path until it sends there; whether it does. */
  async warm(vif: Vif, to: Uint8Array = NEIGHBOUR): Promise<boolean> {
    const { host, guest } = vif;
    for (let i = 0; i < SEND_TRIES; i++) {
      host.arrive(
        this.inward(vif, { from: to, flow: 0xf00, serial: i, sourcePort: 9, targetPort: 9000 + i }),
      );
      await host.run(PAUSE_MS);
      const verdict = guest.transmit(this.outward(vif, { to, flow: 0xf01, serial: i }));
      await host.run(2);
      if (verdict === 'sent') {
        host.bench.takeSent();
        guest.delivered.length = 0;
        return true;
      }
    }
    return false;
  }

  /** Sends a flow's frames from the wire until the device takes them past the driver domain; whether it comes to that. */
  async steer(vif: Vif, spec: FrameSpec, tries = FLOW_TRIES): Promise<boolean> {
    const { host } = vif;
    for (let i = 0; i < tries; i++) {
      const receiver = host.arrive(this.inward(vif, { ...spec, serial: 0x8000_0000 + i }));
      await host.run(PAUSE_MS);
      if (receiver === 'guest') return true;
    }
    return false;
  }

  /** A vif with a flow that comes past the driver domain. */
  async receiving(spec: FrameSpec = {}, options: HostOptions = {}): Promise<Vif> {
    const vif = await this.attached(options);
    if (!(await this.steer(vif, spec))) throw new UntestedError('receive.steers');
    vif.guest.delivered.length = 0;
    return vif;
  }

  /** A frame of the guest's to its neighbour. */
  outward(vif: Vif, spec: FrameSpec = {}): Uint8Array {
    const own = vif.number + 1;
    return frameOf({ to: NEIGHBOUR, from: vif.identity.mac, source: own, target: 100, ...spec });
  }

  /** A frame of the neighbour's to the guest. */
  inward(vif: Vif, spec: FrameSpec = {}): Uint8Array {
    const own = vif.number + 1;
    return frameOf({ to: vif.identity.mac, from: NEIGHBOUR, source: 100, target: own, ...spec });
  }

  /** Ends what the check left attached; no host of it is used any more. */
  async end(): Promise<void> {
    for (const host of this.hosts.splice(0)) {
      for (const vif of host.vifs) if (!vif.front.over || !vif.back.over) await vif.detach();
      host.top.memory.reset();
      this.memories.push(host.top.memory);
    }
  }
}

/** Serial numbers of a flow's frames, in order. */
export function serials(frames: readonly (Uint8Array | Delivered)[], flow: number): number[] {
  const found: number[] = [];
  for (const each of frames) {
    const tag = tagOf(each instanceof Uint8Array ? each : each.bytes);
    if (tag !== null && tag.flow === flow) found.push(tag.serial);
  }
  return found;
}
