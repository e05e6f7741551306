// The backend half of the plugin on a port of a NIC, with the guest's half played by the test.
import type { BackendAccelerator } from '@netaccel/core-hooks';
import { FakeHost } from '@netaccel/nic-vi/testing';
import type { HostOptions } from '@netaccel/nic-vi/testing';
import { expect, onTestFinished } from 'vitest';
import plugin from '../src/index.js';

/** Probed; the guest has asked for nothing yet. */
export async function attach(
  options: HostOptions = {},
): Promise<{ host: FakeHost; backend: BackendAccelerator }> {
  const host = new FakeHost(options);
  return { host, backend: await plugin.probe(host.services) };
}

/** Set up, with a VI that the guest has; after the test it is taken off, and nothing may be left. */
export async function started(
  options: HostOptions = {},
): Promise<{ host: FakeHost; backend: BackendAccelerator; vi: number }> {
  const { host, backend } = await attach(options);
  onTestFinished(async () => {
    await host.remove(backend);
    const { vis, ...rest } = host.ledger();
    expect(rest).toEqual({ shares: 0, maps: 0, ports: 0, subscriptions: 0, timers: 0 });
    expect(vis).toBeLessThanOrEqual(1);
  });
  const { vi } = await host.setUp();
  return { host, backend, vi };
}
