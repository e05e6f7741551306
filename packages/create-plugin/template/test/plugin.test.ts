// Everything that the contract holds a plugin to, from what it says it can do.
import { conformance } from '@netaccel/core-hooks/conformance';
import { nicBench } from '@netaccel/nic-vi/testing';
import { test } from 'vitest';
import backend from '../src/backend/index.js';
import frontend from '../src/frontend/index.js';

conformance(test, () => ({ frontend, backend, bench: nicBench() }));
