/**
 * The benchmark's cases. Each is run in a process of its own and answers figures; what is compared is decided in
 * `report.ts`. A case that this machine cannot run says why.
 */
import { copyCase } from './copy-case.js';
import { allocationCase, oneHostCase, wireCase } from './frames-cases.js';
import { idleCase } from './idle-case.js';
import { memifCase } from './memif-case.js';
import { bridgeCase, tcpOneHostCase, tcpWireCase } from './tcp-cases.js';

/** What a case found: figures by name, each with its unit in the name. */
export type Figures = Readonly<Record<string, number>>;

/** A case cannot run here. */
export class CaseUnavailable extends Error {
  /** @param message what is missing, and what to do. */
  constructor(message: string) {
    super(message);
    this.name = 'CaseUnavailable';
  }
}

/** A case. */
export interface BenchCase {
  readonly name: string;
  /** What it measures, for people. */
  readonly what: string;
  /** Node's own options for its process. */
  readonly node?: readonly string[];
  /** Whether the process must be in a user namespace of its own. */
  readonly namespaces?: true;
  run(): Promise<Figures>;
}

const SIZES = [64, 1514] as const;

/** Every case. */
export const cases: readonly BenchCase[] = [
  ...SIZES.map((size) => copyCase(size)),
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
