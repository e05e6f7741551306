/** Writes into this half's directory that never bring back a device which the toolstack has removed. */
import type { Store, StoreTransaction } from '@netaccel/xen/store';

/**
 * Writes keys of the device directory `path` (null removes one), all or none; nothing when the device is gone.
 * @returns whether it is there.
 */
export async function writeDeviceKeys(
  store: Store,
  path: string,
  keys: Readonly<Record<string, string | null>>,
  transaction?: StoreTransaction,
): Promise<boolean> {
  if (transaction === undefined) return store.transaction((own) => writeDeviceKeys(store, path, keys, own));
  if ((await store.readOptional(`${path}/state`, transaction)) === null) return false;
  for (const [key, value] of Object.entries(keys)) {
    if (value !== null) await store.write(`${path}/${key}`, value, transaction);
    else if (await store.exists(`${path}/${key}`, transaction))
      await store.remove(`${path}/${key}`, transaction);
  }
  return true;
}
