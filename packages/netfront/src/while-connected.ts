/**
 * What may change while a device is connected: the room before received data, the multicast groups that are wanted, and
 * the mtu that the toolstack allows. Each holds for later connections, too.
 *
 * Owned by the device, whose loop takes from here what it has to do itself; outside of the frame path.
 */
import { XenbusState } from '@netaccel/xen';
import type { XenbusStateValue } from '@netaccel/xen';
import { ETHERNET_HEADER_BYTES, MAX_XDP_HEADROOM } from '@netaccel/xen/netif';
import type { Connection } from './connection.js';
import type { DeviceAccelerator } from './device-accelerator.js';
import type { Agreement, NetfrontFeatures } from './features.js';
import { parseMtu, publishHeadroom } from './handshake.js';
import type { DeviceKeys } from './handshake.js';
import { messageOf } from './hooks.js';
import type { GroupParts } from './multicast.js';
import type { NetfrontOptions } from './netfront-options.js';
import type { Waiters } from './waiters.js';

const GROUPS_KEY = 'request-multicast-control';
const RECONFIGURE_TIMEOUT_MS = 5000;

/** The device, as far as this needs it. */
export interface ChangingDevice {
  readonly path: string;
  readonly agreement: Agreement | null;
  readonly connection: Connection | null;
  readonly opened: boolean;
  readonly accelerator: DeviceAccelerator;
  readonly waiters: Waiters;
  own: XenbusStateValue;
  keys: DeviceKeys | null;
  wake(): void;
  write(state: XenbusStateValue): Promise<void>;
  log(level: 'debug' | 'warn', message: string): void;
}

/** One device's changes. */
export class WhileConnected implements Pick<GroupParts, 'onJoined' | 'onRefused'> {
  private renewal: string | null = null;
  private remeasured = false;
  /** Writes of the groups' key, one after the other. */
  private writing: Promise<void> = Promise.resolve();

  /**
   * @param device whose.
   * @param features what the device is willing to do, with what was changed since it was made.
   * @param options of the device.
   */
  constructor(
    private readonly device: ChangingDevice,
    public features: NetfrontFeatures,
    private readonly options: NetfrontOptions,
  ) {}

  /** {@inheritDoc Netfront.setHeadroom} */
  async setHeadroom(headroom: number): Promise<boolean> {
    const { device, options } = this;
    const { loop, store } = options.domain;
    this.features = { ...this.features, headroom };
    if (!device.opened || (device.agreement?.headroom ?? null) === null) return false;
    if (!(await publishHeadroom(store, device.path, headroom))) return false;
    device.own = XenbusState.Reconfiguring;
    device.wake();
    const answered = (): boolean => device.own !== XenbusState.Reconfiguring;
    const timeoutMs = options.closeTimeoutMs ?? RECONFIGURE_TIMEOUT_MS;
    const how = await device.waiters.untilOr(answered, loop, { timeoutMs });
    if (how === 'late') await device.write(XenbusState.Connected);
    const own: () => XenbusStateValue = () => device.own;
    return how === 'holds' && own() === XenbusState.Connected;
  }

  /** The connection is open: room that was asked for after its keys were written is asked for now. */
  catchUp(): void {
    const { device } = this;
    const { headroom } = this.features;
    const asked = device.agreement?.headroom ?? null;
    if (asked === null || asked === Math.min(headroom, MAX_XDP_HEADROOM)) return;
    this.setHeadroom(headroom).catch((error: unknown) =>
      device.log('warn', `xdp-headroom: ${messageOf(error)}`),
    );
  }

  /** {@inheritDoc Netfront.setGroups} */
  setGroups(groups: readonly Uint8Array[] | null): void {
    const { device } = this;
    const before = this.features.groups;
    device.connection?.instructions.groups?.want(groups);
    this.features = { ...this.features, groups };
    if (groups === null) this.filter(false);
    const fixed = device.connection !== null && device.agreement?.multicast === 'static';
    if (fixed && (groups === null) !== (before === null)) this.renew('other groups are wanted');
  }

  /** Every wanted group is joined: frames of others may be kept back. */
  onJoined(): void {
    this.filter(true);
  }

  /** The backend has no room for a group: all of them come, rather than some of them never. */
  onRefused(group: string): void {
    this.device.log('warn', `the backend does not take group ${group}: frames of all groups come`);
    if (this.device.agreement?.multicast === 'dynamic') return this.filter(false);
    this.features = { ...this.features, groups: null };
    this.renew(`the backend does not take group ${group}`);
  }

  /** The toolstack says which mtu is allowed: as much of it as the buffers of the connection have room for. */
  mtuSaid(text: string | null): void {
    const { device } = this;
    const { keys } = device;
    const buffers = device.connection?.buffers;
    const whole = buffers === undefined || device.agreement?.transmit.scatterGather === true;
    const mtu = Math.min(parseMtu(text), whole ? Infinity : buffers.pieceBytes - ETHERNET_HEADER_BYTES);
    if (keys === null || keys.vif.mtu === mtu) return;
    device.keys = { ...keys, vif: { ...keys.vif, mtu } };
    this.remeasured = device.accelerator.present;
    this.options.onMtu?.(mtu);
    device.wake();
  }

  /** Why the connection is to be made anew, once; null when it is not. */
  takeRenewal(): string | null {
    const { renewal } = this;
    this.renewal = null;
    return renewal;
  }

  /** Whether the mtu has changed under a plugin, which was told another one; once. */
  takeRemeasured(): boolean {
    const { remeasured } = this;
    this.remeasured = false;
    return remeasured;
  }

  private renew(reason: string): void {
    this.renewal = reason;
    this.device.wake();
  }

  /** With a backend that lets it change: group frames other than those joined are kept back, or come again. */
  private filter(on: boolean): void {
    const { device, options } = this;
    if (device.agreement?.multicast !== 'dynamic') return;
    this.writing = this.writing
      .then(() => options.domain.store.write(`${device.path}/${GROUPS_KEY}`, on ? '1' : '0'))
      .catch((error: unknown) => device.log('warn', `${GROUPS_KEY}: ${messageOf(error)}`));
  }
}
