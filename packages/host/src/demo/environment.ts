/** What a demo's or benchmark's figures were measured on: part of every claim. */
import { availableParallelism, release, type } from 'node:os';
import type { DemoResult } from './result.js';

/** This machine, in three words. */
export function environment(): DemoResult['environment'] {
  return {
    node: process.versions.node,
    cpus: availableParallelism(),
    platform: `${type()} ${release()} ${process.arch}`,
  };
}
