/**
 * Settings of a network interface, by ioctl on a socket: no `ip` program is needed.
 *
 * A socket belongs for life to the namespace that it was opened in, so a `InterfaceControl` made inside a
 * namespace works from anywhere later. It owns its two sockets.
 */
import { isIPv4, isIPv6 } from 'node:net';
import {
  ARPHRD_ETHER,
  IFREQ,
  IN6_IFREQ,
  InterfaceFlag,
  InterfaceRequest,
  OpenFlag,
  SOCK_DGRAM,
  SocketFamily,
} from './abi.js';
import { TapError, checked } from './error.js';
import type { Libc } from './ffi.js';

const MAC_PATTERN = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i;
const NAME_PATTERN = /^(?!\.{1,2}$)[\w.-]{1,15}$/;
/** Bit of a MAC address's first byte: a group's, which no interface may have. */
const GROUP_BIT = 1;

/** An address with its prefix length, such as `10.0.0.1/24` or `fd00::1/64`. */
export type InterfaceAddress = string;

/** A `struct ifreq` for `name`. @throws TapError `BAD_VALUE`. */
export function interfaceRequest(name: string): DataView {
  if (!NAME_PATTERN.test(name)) {
    throw new TapError(
      'BAD_VALUE',
      `An interface name is 1 to 15 letters, digits, "_", "-" or "."; got "${name}". Choose another.`,
    );
  }
  const request = new DataView(new ArrayBuffer(IFREQ.sizeBytes));
  for (let at = 0; at < name.length; at++) request.setUint8(at, name.charCodeAt(at));
  return request;
}

/** Sets up the interfaces of one namespace. */
export class InterfaceControl {
  private readonly socket: number;
  private ipv6Socket = -1;

  /** Call it inside the namespace. */
  constructor(private readonly libc: Libc) {
    this.socket = checked(
      libc,
      libc.socket(SocketFamily.ipv4, SOCK_DGRAM | OpenFlag.closeOnExec, 0),
      'open a control socket',
      'Raise "ulimit -n".',
    );
    // A kernel without IPv6 refuses; that matters only to who asks for an IPv6 address.
    this.ipv6Socket = libc.socket(SocketFamily.ipv6, SOCK_DGRAM | OpenFlag.closeOnExec, 0);
  }

  /** Switches the interface on. */
  setUp(name: string): void {
    const request = interfaceRequest(name);
    this.call(InterfaceRequest.getFlags, request, `read the flags of ${name}`);
    const flags = request.getUint16(IFREQ.valueAt, true) | InterfaceFlag.up | InterfaceFlag.running;
    request.setUint16(IFREQ.valueAt, flags, true);
    this.call(InterfaceRequest.setFlags, request, `switch ${name} on`);
  }

  /** Sets the largest IP packet. */
  setMtu(name: string, mtu: number): void {
    const request = interfaceRequest(name);
    request.setInt32(IFREQ.valueAt, mtu, true);
    this.call(InterfaceRequest.setMtu, request, `set the MTU of ${name} to ${mtu}`);
  }

  /** Sets the MAC address, such as `02:00:00:00:00:01`. */
  setMacAddress(name: string, macAddress: string): void {
    const bytes = macAddress.split(':').map((byte) => Number.parseInt(byte, 16));
    if (!MAC_PATTERN.test(macAddress) || (bytes[0]! & GROUP_BIT) !== 0) {
      throw new TapError(
        'BAD_VALUE',
        `Expected a MAC address such as 02:00:00:00:00:01 with an even first byte; got "${macAddress}".`,
      );
    }
    const request = interfaceRequest(name);
    request.setUint16(IFREQ.valueAt, ARPHRD_ETHER, true);
    bytes.forEach((byte, at) => request.setUint8(IFREQ.hardwareAddressAt + at, byte));
    this.call(
      InterfaceRequest.setHardwareAddress,
      request,
      `set the MAC address of ${name} to ${macAddress}`,
    );
  }

  /** Makes the interface a port of a kernel bridge. */
  joinBridge(name: string, bridge: string): void {
    const index = interfaceRequest(name);
    this.call(InterfaceRequest.getIndex, index, `find the index of ${name}`);
    const request = interfaceRequest(bridge);
    request.setInt32(IFREQ.valueAt, index.getInt32(IFREQ.valueAt, true), true);
    checked(
      this.libc,
      this.libc.ioctl(this.socket, InterfaceRequest.addToBridge, this.libc.addressOf(request)),
      `make ${name} a port of the bridge ${bridge}`,
      `Is there a bridge of that name? "ip link add ${bridge} type bridge" makes one; the kernel wants CAP_NET_ADMIN.`,
    );
  }

  /** Gives the interface an address. IPv4: one, the last given. IPv6: as many as wanted. */
  setAddress(name: string, address: InterfaceAddress): void {
    const [host = '', prefix = '', more] = address.split('/');
    const prefixLength = /^\d+$/.test(prefix) && more === undefined ? Number(prefix) : Number.NaN;
    if (isIPv4(host) && prefixLength <= 32) this.setIpv4Address(name, host, prefixLength);
    else if (isIPv6(host) && !host.includes('%') && prefixLength <= 128)
      this.setIpv6Address(name, host, prefixLength);
    else {
      throw new TapError(
        'BAD_VALUE',
        `Expected an address with a prefix length, such as 10.0.0.1/24 or fd00::1/64; got "${address}".`,
      );
    }
  }

  /** Closes the sockets. Idempotent. */
  close(): void {
    if (this.ipv6Socket < -1) return;
    this.libc.close(this.socket);
    if (this.ipv6Socket >= 0) this.libc.close(this.ipv6Socket);
    this.ipv6Socket = -2;
  }

  private setIpv4Address(name: string, host: string, prefixLength: number): void {
    const request = interfaceRequest(name);
    request.setUint16(IFREQ.valueAt, SocketFamily.ipv4, true);
    host.split('.').forEach((byte, at) => request.setUint8(IFREQ.ipv4At + at, Number(byte)));
    this.call(InterfaceRequest.setAddress, request, `give ${name} the address ${host}`);
    const mask = prefixLength === 0 ? 0 : -1 << (32 - prefixLength);
    request.setInt32(IFREQ.ipv4At, mask);
    this.call(InterfaceRequest.setNetmask, request, `give ${name} the prefix length ${prefixLength}`);
  }

  private setIpv6Address(name: string, host: string, prefixLength: number): void {
    const named = interfaceRequest(name);
    this.call(InterfaceRequest.getIndex, named, `find the index of ${name}`);
    const request = new DataView(new ArrayBuffer(IN6_IFREQ.sizeBytes));
    ipv6Bytes(host).forEach((byte, at) => request.setUint8(IN6_IFREQ.addressAt + at, byte));
    request.setUint32(IN6_IFREQ.prefixLengthAt, prefixLength, true);
    request.setInt32(IN6_IFREQ.indexAt, named.getInt32(IFREQ.valueAt, true), true);
    checked(
      this.libc,
      this.libc.ioctl(this.ipv6Socket, InterfaceRequest.setAddress, this.libc.addressOf(request)),
      `give ${name} the address ${host}/${prefixLength}`,
      'Is IPv6 switched off in this kernel? Leave IPv6 addresses out then.',
    );
  }

  private call(request: number, argument: DataView, doing: string): void {
    checked(
      this.libc,
      this.libc.ioctl(this.socket, request, this.libc.addressOf(argument)),
      doing,
      'Check the name and the value; the namespace must belong to this process.',
    );
  }
}

/** The 16 bytes of an IPv6 address that `isIPv6` accepts, without zone. */
export function ipv6Bytes(host: string): number[] {
  const dotted = host.lastIndexOf(':') + 1;
  const plain = isIPv4(host.slice(dotted)) ? host.slice(0, dotted) + ipv4AsGroups(host.slice(dotted)) : host;
  const [left = '', right] = plain.split('::');
  const head = left === '' ? [] : left.split(':');
  const tail = right === undefined || right === '' ? [] : right.split(':');
  const zeros = Array.from({ length: 8 - head.length - tail.length }, () => '0');
  return [...head, ...zeros, ...tail].flatMap((group) => {
    const value = Number.parseInt(group, 16);
    return [value >>> 8, value & 0xff];
  });
}

function ipv4AsGroups(host: string): string {
  const [a = 0, b = 0, c = 0, d = 0] = host.split('.').map(Number);
  return `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
}
