/** What the kernel does when pages go, the same for granted pages and for mapped ones. */
import type { EventChannel } from '../machine.js';
import { GrantRequest, NotifyAction, UNMAP_NOTIFY } from './abi.js';
import { SCRATCH_BYTES } from './arena.js';
import type { Arena } from './arena.js';
import { errnoName, NativeError } from './error.js';
import type { NativeLibc } from './libc.js';

/**
 * Has the kernel clear a byte, and notify the other end of a channel, when the pages at `index` of a device go.
 * @throws NativeError `SYSTEM_CALL`.
 */
export function setUnmapNotify(
  libc: NativeLibc,
  descriptor: number,
  arena: Arena,
  index: number,
  offset: number | null,
  channel: EventChannel | null,
): void {
  const view = new DataView(arena.memory.bytes.buffer, arena.scratch, SCRATCH_BYTES);
  view.setBigUint64(UNMAP_NOTIFY.indexAt, BigInt(index + (offset ?? 0)), true);
  const action =
    (offset === null ? 0 : NotifyAction.clearByte) | (channel === null ? 0 : NotifyAction.sendEvent);
  view.setUint32(UNMAP_NOTIFY.actionAt, action, true);
  view.setUint32(UNMAP_NOTIFY.portAt, channel?.port ?? 0, true);
  if (libc.ioctl(descriptor, GrantRequest.setUnmapNotify, arena.base + arena.scratch) >= 0) return;
  const errno = errnoName(libc.errno());
  throw new NativeError(
    'SYSTEM_CALL',
    `the kernel cannot be told what to do when shared pages go: it answered ${errno}`,
    errno,
  );
}
