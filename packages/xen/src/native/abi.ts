/**
 * Numbers of the kernel interfaces that this folder speaks: open, mmap and ioctl constants, structure layouts.
 *
 * The Xen devices are those of Linux, include/uapi/xen/{evtchn,gntdev,gntalloc}.h, on 64-bit little-endian machines
 * with generic ioctl encoding. Nothing else in this folder holds a bare number of the kernel's.
 */

/** `process.arch` values that the tables below are true for: Xen runs on no other. */
export const SUPPORTED_ARCHITECTURES: readonly string[] = ['x64', 'arm64'];

/** asm-generic/fcntl.h. */
export const OpenFlag = { readWrite: 0o2, nonBlocking: 0o4000, closeOnExec: 0o2000000 } as const;

/** asm-generic/mman-common.h. */
export const Protection = { read: 0x1, write: 0x2 } as const;
/** asm-generic/mman-common.h, linux/mman.h. `fixedNoReplace` refuses to lie over another mapping. */
export const MapFlag = {
  shared: 0x01,
  private: 0x02,
  fixed: 0x10,
  anonymous: 0x20,
  noReserve: 0x4000,
  fixedNoReplace: 0x100000,
} as const;

/** linux/poll.h. */
export const PollEvent = { readable: 0x1 } as const;
/** asm-generic/poll.h `struct pollfd`. */
export const POLLFD = { sizeBytes: 8, descriptorAt: 0, eventsAt: 4, answeredAt: 6 } as const;

/** Where the devices are. */
export const Device = {
  events: '/dev/xen/evtchn',
  foreign: '/dev/xen/gntdev',
  grants: '/dev/xen/gntalloc',
  store: '/dev/xen/xenbus',
} as const;

/** xen/evtchn.h: requests; the local port comes back as the result. */
export const EventRequest = {
  /** `struct ioctl_evtchn_bind_interdomain`: remote domain, remote port. */
  bindInterdomain: 0x84501,
  /** `struct ioctl_evtchn_bind_unbound_port`: remote domain. */
  bindUnbound: 0x44502,
  /** `struct ioctl_evtchn_unbind`: port. */
  unbind: 0x44503,
  /** `struct ioctl_evtchn_notify`: port. */
  notify: 0x44504,
} as const;

/** xen/gntdev.h: requests. */
export const ForeignRequest = {
  mapGrantRef: 0x184700,
  unmapGrantRef: 0x104701,
  setUnmapNotify: 0x104707,
  grantCopy: 0x104708,
} as const;

/** `struct ioctl_gntdev_map_grant_ref`: a count, the index to map at, then domain and reference of each grant. */
export const MAP_GRANT_REF = { countAt: 0, indexAt: 8, refsAt: 16, refBytes: 8 } as const;

/** `struct ioctl_gntdev_unmap_grant_ref`. */
export const UNMAP_GRANT_REF = { indexAt: 0, countAt: 8, paddingAt: 12 } as const;

/** `struct ioctl_gntdev_grant_copy`. */
export const GRANT_COPY = { countAt: 0, segmentsAt: 8, sizeBytes: 16 } as const;

/** `struct gntdev_grant_copy_segment`, in 32-bit words: two sides, length and flags, status. */
export const COPY_SEGMENT = {
  sizeBytes: 24,
  words: 6,
  source: 0,
  destination: 2,
  lengthFlags: 4,
  status: 5,
} as const;
/** grant_table.h `GNTCOPY_*`. */
export const CopyFlag = { sourceIsGrant: 1, destinationIsGrant: 2 } as const;

/** xen/gntalloc.h: requests. */
export const GrantRequest = {
  allocate: 0x184705,
  deallocate: 0x104706,
  setUnmapNotify: 0x104707,
} as const;

/** `struct ioctl_gntalloc_alloc_gref`: the reference of each page follows. */
export const ALLOC_GREF = { domainAt: 0, flagsAt: 2, countAt: 4, indexAt: 8, refsAt: 16 } as const;
/** `GNTALLOC_FLAG_WRITABLE`. */
export const GRANT_WRITABLE = 1;

/** `struct ioctl_gntalloc_dealloc_gref`. */
export const DEALLOC_GREF = { indexAt: 0, countAt: 8 } as const;

/** `struct ioctl_{gntdev,gntalloc}_unmap_notify`. */
export const UNMAP_NOTIFY = { indexAt: 0, actionAt: 8, portAt: 12 } as const;
/** `UNMAP_NOTIFY_*`. */
export const NotifyAction = { clearByte: 1, sendEvent: 2 } as const;
