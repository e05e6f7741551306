import { expect, test } from 'vitest';
import { outcomeOf } from '../../src/up/feature-outcome.js';

const said = (...keys: string[]) => new Map(keys.map((pair) => pair.split('=') as [string, string]));

test.each([
  ['feature-sg', '1', said('feature-sg=1'), 'accepted'],
  ['feature-sg', '1', said('feature-sg=0'), 'refused by the frontend'],
  ['feature-gso-tcpv4', '1', said(), 'refused by the frontend'],
  ['feature-gso-tcpv4', '0', said('feature-gso-tcpv4=1'), 'refused by the backend'],
  ['feature-gso-tcpv6', null, said('feature-gso-tcpv6=1'), 'refused by the backend'],
  ['feature-rx-copy', '1', said('request-rx-copy=1'), 'accepted'],
  ['feature-rx-copy', '1', said('request-rx-copy=0'), 'refused by the frontend'],
  ['feature-rx-flip', '0', said(), 'not offered'],
  ['feature-rx-notify', null, said('feature-rx-notify=1'), 'accepted'],
  ['feature-ctrl-ring', '1', said(), 'refused by the frontend'],
  ['feature-ctrl-ring', '1', said('ctrl-ring-ref=9'), 'accepted'],
  ['feature-split-event-channels', '1', said('queue-0/event-channel-tx=4'), 'accepted'],
  ['multi-queue-max-queues', '4', said('multi-queue-num-queues=1'), 'accepted'],
  ['multi-queue-max-queues', '4', said(), 'refused by the frontend'],
  ['feature-no-csum-offload', null, said('feature-no-csum-offload=1'), 'refused by the frontend'],
] as const)('%s: %s of the backend and %j of the frontend: %s', (key, backend, frontend, outcome) => {
  expect(outcomeOf(key, backend, frontend)).toBe(outcome);
});
