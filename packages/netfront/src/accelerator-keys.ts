/**
 * The frontend half's accelerator keys: where the backend half reads how far this one is, and how to reach its
 * mailbox. The backend half's own keys are `accel-frontend` (which plugin) and `accel/state`.
 */
import { XenbusState, stateName } from '@netaccel/xen';
import type { MailboxKeys, XenbusStateValue } from '@netaccel/xen';
import type { Store } from '@netaccel/xen/store';
import { messageOf } from './hooks.js';

/** Keys of `accel/` under the frontend's directory that belong to the driver; a plugin may not write them. */
export const DRIVER_KEYS = ['state', 'mailbox-ref-0', 'mailbox-ref-1', 'mailbox-event-channel'] as const;

/**
 * Writes the state of the plugin half (a XenbusState), in one transaction with all that belongs to it: with
 * Connected the mailbox's address; with Closed, and at the beginning, nothing but the state stays.
 * @param onError the store refused; a device whose directory is gone is not an error.
 */
export async function publishHalf(
  store: Store,
  frontendPath: string,
  state: XenbusStateValue,
  mailbox: MailboxKeys | undefined,
  onError: (reason: string) => void,
): Promise<void> {
  const path = `${frontendPath}/accel`;
  try {
    await store.transaction(async (transaction) => {
      if (!(await store.exists(frontendPath, transaction))) return;
      if (mailbox !== undefined) {
        await store.write(`${path}/mailbox-ref-0`, String(mailbox.refs[0]), transaction);
        await store.write(`${path}/mailbox-ref-1`, String(mailbox.refs[1]), transaction);
        await store.write(`${path}/mailbox-event-channel`, String(mailbox.port), transaction);
      } else if (state !== XenbusState.Closing && (await store.exists(path, transaction)))
        await store.remove(path, transaction);
      await store.write(`${path}/state`, String(state), transaction);
    });
  } catch (error) {
    onError(`writing ${path}/state = ${stateName(state)} failed: ${messageOf(error)}`);
  }
}
