// Everything that the contract holds a plugin to. The back half is loaded by its name, as a driver domain does.
import type { BackendAcceleratorDefinition } from '@netaccel/core-hooks';
import { conformance } from '@netaccel/core-hooks/conformance';
import { nicBench } from '@netaccel/nic-vi/testing';
import { test } from 'vitest';
import frontend from '../src/index.js';

const name = frontend.name.replace('frontend', 'backend');
const backend = (await import(name)) as { default: BackendAcceleratorDefinition };

conformance(test, () => ({ frontend, backend: backend.default, bench: nicBench() }));
