/**
 * What a netfront is made with, where it stands, and the figures that hold when the options say nothing.
 */
import type {
  AcceleratorRegistry,
  FrameSink,
  FrontendAcceleratorDefinition,
  VifIdentity,
} from '@netaccel/core-hooks';
import { stateName } from '@netaccel/xen';
import type { Domain, XenbusStateValue } from '@netaccel/xen';
import { ETHERNET_HEADER_BYTES } from '@netaccel/xen/netif';
import type { SlotState } from './accelerator.js';
import type { AcceleratorDeadlines } from './attachment.js';
import type { ConnectionParts } from './connection.js';
import type { Agreement, NetfrontFeatures } from './features.js';
import { QUEUE_UNITS } from './receive.js';
import type { FillOptions } from './receive-fill.js';
import type { TransmitBufferOptions } from './transmit-buffers.js';
import type { WaitLimits } from './waiters.js';

/** What a netfront is made with. */
export interface NetfrontOptions {
  /** The guest. */
  readonly domain: Domain;
  /** Number of the vif: its directory is `device/vif/<handle>`. */
  readonly handle: number;
  /** Where received frames go. `deliver` and `flush` may send frames in return. */
  readonly stack: FrameSink;
  /** Where accelerator plugins come from; without it the device is never accelerated. */
  readonly registry?: AcceleratorRegistry<FrontendAcceleratorDefinition>;
  /** What this side is willing to do; all of it when left out. */
  readonly features?: Partial<NetfrontFeatures>;
  /** Transmit buffers; see the README for what they cost. */
  readonly transmitBuffers?: Partial<TransmitBufferOptions>;
  /** Pages of each receive ring: what it posts and what the stack may hold at a time. 320 when left out. */
  readonly receivePages?: number;
  /** Bounds of the receive rings' fill target. */
  readonly fill?: FillOptions;
  /** The most frames and completions that a plugin's queue holds; 4096 when left out. */
  readonly queueUnits?: number;
  /** Limits of a plugin's asynchronous hooks, and the pauses between tries. */
  readonly deadlines?: Partial<AcceleratorDeadlines>;
  /** How long `stop` waits for the backend to close; 5000 ms when left out. */
  readonly closeTimeoutMs?: number;
  /** How long `suspend` waits for frames that were taken to be sent; 1000 ms when left out. */
  readonly drainTimeoutMs?: number;
  /** Where ring indices begin; 0 when left out. Tests say near 2^32. */
  readonly firstIndex?: number;
  /** A stopped queue goes again, or a buffer is there again. Called from the device's task. */
  readonly onReady?: () => void;
  /** A backend is connected: the stack announces its addresses (gratuitous ARP). */
  readonly onConnected?: (vif: VifIdentity) => void;
  /** The toolstack allows another payload than before; `vif.mtu` has it. */
  readonly onMtu?: (mtu: number) => void;
  /** The device or its accelerator changed its state. */
  readonly onState?: (state: NetfrontState) => void;
}

/** Where a device stands. */
export interface NetfrontState {
  /** This half's XenbusState. */
  readonly frontend: XenbusStateValue;
  /** The backend's. */
  readonly backend: XenbusStateValue;
  /** Frames can go. */
  readonly carrier: boolean;
  /** Its accelerator. */
  readonly accelerator: SlotState;
  /** Why it is not as one would wish; null when there is nothing to say. */
  readonly reason: string | null;
}

/** The device did not connect, or not in time. */
export class ConnectError extends Error {
  /**
   * @param code `TIMEOUT` the backend was not there in time; `ABORTED` the caller gave up; `FAILED` the
   * connection could not be made; `STOPPED` the device was stopped meanwhile.
   * @param message what was expected, what was seen, what to do.
   */
  constructor(
    readonly code: 'TIMEOUT' | 'ABORTED' | 'FAILED' | 'STOPPED',
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = 'ConnectError';
  }
}

/** Why a wait for a connection ended without one; `failure` is why the device closed, or null. */
export function connectError(
  how: 'holds' | 'late' | 'aborted',
  device: {
    readonly path: string;
    readonly own: XenbusStateValue;
    readonly backend: { readonly state: XenbusStateValue };
    readonly keys: { readonly backendPath: string } | null;
  },
  timeoutMs: number,
  failure: string | null,
): ConnectError {
  const { path, own, backend, keys } = device;
  const seen =
    `${path}: expected a connected backend, saw frontend ${stateName(own)}, ` +
    `backend ${stateName(backend.state)} at ${keys?.backendPath ?? '?'}`;
  if (how === 'late')
    return new ConnectError('TIMEOUT', `${seen} after ${timeoutMs} ms; is a netback running there?`);
  if (how === 'aborted') return new ConnectError('ABORTED', `${seen} when the wait was aborted`);
  if (failure !== null) return new ConnectError('FAILED', `${seen}: ${failure}`);
  return new ConnectError('STOPPED', `${seen}; it was stopped meanwhile`);
}

/** How long to wait. */
export type StartOptions = WaitLimits;

const RECEIVE_PAGES = 320;
const SMALL_BUFFERS = 512;
const LARGE_BUFFERS = 16;
/** Bytes that a small buffer has besides a frame: a VLAN tag, TAP's virtio-net header before it, alignment. */
const HEADROOM_BYTES = 64;

/** The part of a connection's making that the options decide. */
export function connectionOptions(
  options: NetfrontOptions,
  agreement: Agreement,
  vif: VifIdentity,
): Pick<
  ConnectionParts,
  | 'transmitBuffers'
  | 'receivePages'
  | 'fill'
  | 'queueUnits'
  | 'firstIndex'
  | 'stack'
  | 'domain'
  | 'backend'
  | 'agreement'
> {
  return {
    domain: options.domain,
    backend: vif.backend,
    agreement,
    stack: options.stack,
    transmitBuffers: {
      small: SMALL_BUFFERS,
      smallBytes: vif.mtu + ETHERNET_HEADER_BYTES + HEADROOM_BYTES,
      large: agreement.transmit.scatterGather ? LARGE_BUFFERS : 0,
      ...options.transmitBuffers,
    },
    receivePages: options.receivePages ?? RECEIVE_PAGES,
    fill: options.fill ?? {},
    queueUnits: options.queueUnits ?? QUEUE_UNITS,
    firstIndex: options.firstIndex ?? 0,
  };
}
