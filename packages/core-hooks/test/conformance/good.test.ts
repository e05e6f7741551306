// The good plugin passes: every rule can be kept, and the kit's own mistakes show here.
import { test } from 'vitest';
import { conformance } from '../../src/conformance/index.js';
import { subject } from './memory-plugin.js';

conformance(test, () => subject());
