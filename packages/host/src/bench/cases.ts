/**
 * The benchmark's cases. Each is run in a process of its own and answers figures; what is compared is decided in
 * `claims.ts`. A case that this machine cannot run says why.
 */
import { copyCase } from './copy-case.js';
import { allocationCase, oneHostCase, wireCase } from './frames-cases.js';
import { idleCase } from './idle-case.js';
import { memifCase } from './memif-case.js';
import { bridgeCase, tcpOneHostCase, tcpWireCase } from './tcp-cases.js';
import { trafficCase } from './traffic-case.js';
import type { BenchCase } from './case.js';

const SIZES = [64, 1514] as const;

/** Every case. */
export const cases: readonly BenchCase[] = [
  ...SIZES.map((size) => copyCase(size)),
  ...SIZES.map((size) => trafficCase(size)),
  ...SIZES.map((size) => oneHostCase(size)),
  ...SIZES.flatMap((size) => (['native', 'slow', 'fast'] as const).map((path) => wireCase(path, size))),
  allocationCase('slow'),
  allocationCase('fast'),
  idleCase,
  ...(['native', 'slow', 'fast'] as const).map((path) => tcpWireCase(path)),
  tcpOneHostCase,
  bridgeCase,
  ...SIZES.map((size) => memifCase(size)),
];
