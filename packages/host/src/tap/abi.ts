/**
 * Numbers of the Linux kernel interface that this folder speaks: open and ioctl constants, structure layouts.
 *
 * They are those of the 64-bit little-endian architectures with generic ioctl encoding (x64, arm64, riscv64,
 * loong64). Sources are named per table. Nothing else in this folder holds a bare number of the kernel's.
 */

/** `process.arch` values that the tables below are true for. */
export const SUPPORTED_ARCHITECTURES: readonly string[] = ['x64', 'arm64', 'riscv64', 'loong64'];

/** asm-generic/fcntl.h. */
export const OpenFlag = { readOnly: 0, readWrite: 0o2, nonBlocking: 0o4000, closeOnExec: 0o2000000 } as const;

/** asm-generic/fcntl.h `F_*`. */
export const Fcntl = { setDescriptorFlags: 2 } as const;

/** sched.h `CLONE_NEWNET`: what setns and unshare are told. */
export const CLONE_NEWNET = 0x40000000;

/** sys/eventfd.h. */
export const EventFdFlag = { nonBlocking: OpenFlag.nonBlocking, closeOnExec: OpenFlag.closeOnExec } as const;

/** linux/socket.h, linux/net.h. */
export const SocketFamily = { unix: 1, ipv4: 2, ipv6: 10 } as const;
/** `SOCK_DGRAM`. */
export const SOCK_DGRAM = 2;

/** asm-generic/poll.h. */
export const PollEvent = { readable: 0x1, error: 0x8, hangUp: 0x10, invalid: 0x20 } as const;

/** linux/sockios.h. */
export const InterfaceRequest = {
  getFlags: 0x8913,
  setFlags: 0x8914,
  setAddress: 0x8916,
  setNetmask: 0x891c,
  setMtu: 0x8922,
  setHardwareAddress: 0x8924,
  getIndex: 0x8933,
  addToBridge: 0x89a2,
} as const;

/** linux/if.h. */
export const InterfaceFlag = { up: 0x1, running: 0x40 } as const;

/** linux/if_arp.h `ARPHRD_ETHER`. */
export const ARPHRD_ETHER = 1;

/** linux/if_tun.h, ioctl requests. */
export const TunRequest = {
  setInterface: 0x400454ca,
  setOffload: 0x400454d0,
  setVnetHeaderSize: 0x400454d8,
  setVnetLittleEndian: 0x400454dc,
} as const;

/** linux/if_tun.h, flags of TUNSETIFF. `exclusive` refuses to attach to a device that exists. */
export const TunFlag = {
  tap: 0x0002,
  noPacketInformation: 0x1000,
  vnetHeader: 0x4000,
  exclusive: 0x8000,
} as const;

/** linux/if_tun.h, `TUN_F_*`: what the reader of the TAP copes with. */
export const TunOffload = { checksum: 0x01, tcpv4: 0x02, tcpv6: 0x04, ecn: 0x08 } as const;

/** linux/if.h `struct ifreq`: 16 bytes of name, then a union. */
export const IFREQ = {
  sizeBytes: 40,
  nameBytes: 16,
  /** `ifr_flags`, `ifr_mtu`, `ifr_ifindex`, or a sockaddr. */
  valueAt: 16,
  /** `sin_addr` of a sockaddr_in, `sa_data` + 2. */
  ipv4At: 20,
  /** `sa_data`: where a hardware address lies. */
  hardwareAddressAt: 18,
} as const;

/** linux/ipv6.h `struct in6_ifreq`. */
export const IN6_IFREQ = { sizeBytes: 24, addressAt: 0, prefixLengthAt: 16, indexAt: 20 } as const;

/** asm-generic/poll.h `struct pollfd`. */
export const POLLFD = { sizeBytes: 8, descriptorAt: 0, eventsAt: 4, answeredAt: 6 } as const;

/** linux/uio.h `struct iovec`, 64-bit. */
export const IOVEC = { sizeBytes: 16, baseAt: 0, lengthAt: 8 } as const;

/** linux/virtio_net.h `struct virtio_net_hdr`, little-endian (virtio 1.x, 5.1.6). */
export const VNET_HEADER = {
  sizeBytes: 10,
  flagsAt: 0,
  segmentationAt: 1,
  headerBytesAt: 2,
  segmentBytesAt: 4,
  checksumStartAt: 6,
  checksumOffsetAt: 8,
} as const;

/** Where the TUN driver is opened. */
export const TUN_DEVICE = '/dev/net/tun';
