/**
 * Watching one key's value. An event of the store says only "look again"; this looks, one read after the other,
 * and tells what was found when it differs, or each time if it is asked to.
 */
import { StoreError } from '@netaccel/xen/store';
import type { Store, Watch } from '@netaccel/xen/store';

/**
 * Calls `handler` with the value of the key `path`, null when it is absent or may not be read: once soon, and
 * after each event on the key itself.
 * @param onError what reading failed with, otherwise.
 */
export async function watchValue(
  store: Store,
  path: string,
  handler: (value: string | null) => void,
  onError: (error: unknown) => void,
): Promise<Watch> {
  let over = false;
  let looking = false;
  let again = false;
  const ended = (): boolean => over;
  const look = async (): Promise<void> => {
    again = true;
    if (looking) return;
    looking = true;
    try {
      while (again && !ended()) {
        again = false;
        const value = await read(store, path);
        if (!ended()) handler(value);
      }
    } catch (error) {
      if (!ended()) onError(error);
    } finally {
      looking = false;
    }
  };
  const watch = await store.watch(path, () => void look(), { depth: 0 });
  return {
    path: watch.path,
    token: watch.token,
    remove: () => {
      over = true;
      return watch.remove();
    },
  };
}

async function read(store: Store, path: string): Promise<string | null> {
  try {
    return await store.readOptional(path);
  } catch (error) {
    if (error instanceof StoreError && (error.code === 'ENOENT' || error.code === 'EACCES')) return null;
    throw error;
  }
}
