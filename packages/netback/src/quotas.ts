/** A vif's quotas for its plugin: the toolstack's keys `limits/...`, read all or nothing, fixed at probe. */
import type { VifLimits } from '@netaccel/core-hooks';
import type { Store } from '@netaccel/xen/store';
import { parseNumber } from './keys.js';

/** What holds unless all of the keys are there and make sense (the historical defaults). */
export const defaultQuotas: VifLimits = Object.freeze({
  maxFilters: 8,
  maxBufferPages: 384,
  maxMulticasts: 8,
});

/** More than any plugin has use for; a larger number is a mistake. */
const MOST = 65536;

/** Reads the quotas under the backend directory `path`. */
export function readQuotas(store: Store, path: string): Promise<VifLimits> {
  return store.transaction(async (transaction) => {
    const read = async (key: string): Promise<number | null> => {
      const value = parseNumber(await store.readOptional(`${path}/limits/${key}`, transaction));
      return value === null || value > MOST ? null : value;
    };
    const maxFilters = await read('max-filters');
    const maxBufferPages = await read('max-buf-pages');
    const maxMulticasts = await read('max-mcasts');
    if (maxFilters === null || maxBufferPages === null || maxMulticasts === null) return defaultQuotas;
    return { maxFilters, maxBufferPages, maxMulticasts };
  });
}
