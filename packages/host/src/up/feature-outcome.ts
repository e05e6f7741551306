/**
 * What became of a feature of the two drivers: offered by whom, accepted, or refused by whom. By netif.h: a feature
 * key offers, and the other side accepts by a key of the same name or by one of its own.
 */

/** In words, for people and for scripts. */
export type FeatureOutcome =
  /** Offered, and used. */
  | 'accepted'
  /** The backend offers it; the frontend did not ask for it. */
  | 'refused by the frontend'
  /** The frontend offers it; the backend does not. */
  | 'refused by the backend'
  /** Neither offers it. */
  | 'not offered';

/** The frontend's keys by which it takes up what the backend offers, where they have another name; any of them does. */
const TAKEN_UP_BY: Readonly<Record<string, readonly string[]>> = {
  'feature-rx-copy': ['request-rx-copy'],
  'feature-rx-flip': [],
  'feature-multicast-control': ['request-multicast-control'],
  'feature-dynamic-multicast-control': ['request-multicast-control'],
  'feature-ctrl-ring': ['ctrl-ring-ref'],
  'feature-split-event-channels': ['event-channel-tx', 'queue-0/event-channel-tx'],
  'multi-queue-max-queues': ['multi-queue-num-queues'],
};
/** Keys of the frontend that every backend heeds: there is no offer that they answer. */
const SAID_BY_FRONTEND: readonly string[] = [
  'feature-rx-notify',
  'request-rx-copy',
  'request-multicast-control',
  'multi-queue-num-queues',
];
/** Keys of the frontend that say what it can not do. */
const REFUSALS: readonly string[] = ['feature-no-csum-offload'];

/** Keys of the frontend's directory that are looked at besides features. */
export const ANSWERING_KEYS: readonly string[] = Object.values(TAKEN_UP_BY).flat();

/**
 * What became of a feature.
 * @param key the feature's.
 * @param backend what the backend's directory says; null for nothing.
 * @param frontend every key of the frontend's that there is.
 */
export function outcomeOf(
  key: string,
  backend: string | null,
  frontend: ReadonlyMap<string, string>,
): FeatureOutcome {
  const mine = frontend.get(key) ?? null;
  if (REFUSALS.includes(key)) return isOn(mine) ? 'refused by the frontend' : 'accepted';
  if (SAID_BY_FRONTEND.includes(key)) return isOn(mine) ? 'accepted' : 'not offered';
  const answers = TAKEN_UP_BY[key];
  const taken = answers === undefined ? isOn(mine) : answers.some((each) => isOn(frontend.get(each) ?? null));
  if (isOn(backend)) return taken ? 'accepted' : 'refused by the frontend';
  return isOn(mine) ? 'refused by the backend' : 'not offered';
}

function isOn(value: string | null): boolean {
  return value !== null && value !== '' && value !== '0';
}
