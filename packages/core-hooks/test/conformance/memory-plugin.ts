// The good plugin in memory, both halves and the card: what the kit's tests judge, and what broken plugins are made of.
import type { ConformanceSubject } from '../../src/conformance/index.js';
import { back } from './memory-back.js';
import { MemoryCard } from './memory-card.js';
import { front } from './memory-front.js';

/** The good plugin, or one with something changed. */
export function subject(changes: Partial<ConformanceSubject> = {}): ConformanceSubject {
  return { frontend: front, backend: back, bench: (machine) => new MemoryCard(machine), ...changes };
}
