// Everything that the contract holds a plugin to. The front half is loaded by its name, as a guest does.
import type { FrontendAcceleratorDefinition } from '@netaccel/core-hooks';
import { conformance } from '@netaccel/core-hooks/conformance';
import { nicBench } from '@netaccel/nic-vi/testing';
import { test } from 'vitest';
import backend from '../src/index.js';

const frontend = (await import(backend.frontend)) as { default: FrontendAcceleratorDefinition };

conformance(test, () => ({ frontend: frontend.default, backend, bench: nicBench() }));
