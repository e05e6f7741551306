/**
 * Makes a TAP in the namespace that the calling thread is in, and owns its descriptor.
 *
 * The interface exists as long as the descriptor is open; the kernel removes it when the process ends in any
 * way. Frames carry a virtio-net header, and the guest's kernel leaves checksums and segmentation to us
 * unless `offloads` is false.
 */
import { IFREQ, OpenFlag, TUN_DEVICE, TunFlag, TunOffload, TunRequest } from './abi.js';
import { TapError, checked, errnoName } from './error.js';
import type { Libc } from './ffi.js';
import { interfaceRequest } from './interface.js';
import type { InterfaceAddress } from './interface.js';
import type { TapDescription } from './tap-device.js';
import { VNET_HEADER_BYTES } from './vnet-header.js';

/** What a TAP shall be. */
export interface TapOptions {
  /** Name of the interface, such as `eth0`. */
  readonly name: string;
  /** The guest's MAC address; the kernel invents one if absent. */
  readonly macAddress?: string;
  /** Largest IP packet; 1500 if absent. */
  readonly mtu?: number;
  /** Addresses with prefix length: at most one of IPv4. Without one of IPv6, IPv6 is off on the interface. */
  readonly addresses?: readonly InterfaceAddress[];
  /** Whether the guest's kernel may send large segments and blank checksums; true if absent. */
  readonly offloads?: boolean;
}

const TUN_REMEDIES = new Map([
  ['ENOENT', `Run "sudo modprobe tun"; in a container, start it with --device ${TUN_DEVICE}.`],
  ['ENODEV', 'Run "sudo modprobe tun".'],
  ['ENXIO', 'Run "sudo modprobe tun".'],
  ['EACCES', `Run "sudo chmod 666 ${TUN_DEVICE}" (most distributions have it so), or start as root.`],
  ['EPERM', `Let the container use the device: start it with --device ${TUN_DEVICE}.`],
]);

/** What to do when opening the TUN device failed with `errno`. */
export function tunRemedy(errno: string): string {
  return TUN_REMEDIES.get(errno) ?? 'Check the device and its rights.';
}

/** A TAP in a guest's namespace: its descriptor's owner. */
export class TapInterface implements TapDescription {
  private closed = false;

  constructor(
    private readonly libc: Libc,
    readonly name: string,
    readonly descriptor: number,
    private readonly onClose: (tap: TapInterface) => void,
  ) {}

  /** What the thread that serves it needs; a plain value. */
  describe(): TapDescription {
    return { name: this.name, descriptor: this.descriptor };
  }

  /** Removes the interface. Idempotent. The thread that serves it must have stopped: the number may be used anew. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.libc.close(this.descriptor);
    this.onClose(this);
  }
}

/**
 * Opens the TUN device and makes the interface, not yet up.
 * @returns the descriptor, non-blocking.
 * @throws TapError `NO_TUN_DEVICE`, `BAD_VALUE`, `SYSTEM_CALL`.
 */
export function openTap(libc: Libc, name: string, offloads: boolean): number {
  const request = interfaceRequest(name);
  const descriptor = libc.open(TUN_DEVICE, OpenFlag.readWrite | OpenFlag.nonBlocking | OpenFlag.closeOnExec);
  if (descriptor < 0) {
    const errno = errnoName(libc.errno());
    throw new TapError(
      'NO_TUN_DEVICE',
      `Expected to open ${TUN_DEVICE}; the kernel answered ${errno}. ${tunRemedy(errno)}`,
      errno,
    );
  }
  const kind = TunFlag.tap | TunFlag.noPacketInformation | TunFlag.vnetHeader | TunFlag.exclusive;
  request.setUint16(IFREQ.valueAt, kind, true);
  const number = new Int32Array(new ArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
  const call = (code: number, argument: number, doing: string, remedy: string): void => {
    checked(libc, libc.ioctl(descriptor, code, argument), doing, remedy);
  };
  try {
    call(
      TunRequest.setInterface,
      libc.addressOf(request),
      `make the TAP ${name}`,
      'Choose a name that the namespace does not have yet; the kernel wants CAP_NET_ADMIN in it.',
    );
    const age = 'A kernel from 4.0 on has it.';
    number[0] = VNET_HEADER_BYTES;
    call(TunRequest.setVnetHeaderSize, libc.addressOf(number), `set the header size of ${name}`, age);
    number[0] = 1;
    call(TunRequest.setVnetLittleEndian, libc.addressOf(number), `set the header order of ${name}`, age);
    const wanted = TunOffload.checksum | TunOffload.tcpv4 | TunOffload.tcpv6 | TunOffload.ecn;
    call(TunRequest.setOffload, offloads ? wanted : 0, `set the offloads of ${name}`, age);
  } catch (error) {
    libc.close(descriptor);
    throw error;
  }
  return descriptor;
}
