/**
 * The frontend on a real host: opens the domain and the TAP, runs the core until it is told to end, and logs each
 * change.
 */
import { openNativeDomain } from '@netaccel/xen/native';
import { Interrupt } from '../commands/interrupt.js';
import { ExitCode, printJson } from '../commands/output.js';
import { InterfaceControl, TapDevice, loadLibc, openTap } from '../tap/index.js';
import type { Libc } from '../tap/index.js';
import { XenFrontend } from './frontend.js';

/** What the command line says. */
export interface FrontendFlags {
  readonly tap: string;
  readonly vif: number;
  readonly queues: number;
  readonly staticGrants?: boolean;
  readonly address: readonly string[];
  readonly plugin: readonly string[];
  readonly pluginsFrom: string;
  readonly store?: string;
}

/** Fragments of one frame that the TAP is written from: a merged receive chain. */
const FRAGMENTS = 64;

/** Runs until SIGTERM or Ctrl-C; answers the exit code. */
export async function runFrontend(flags: FrontendFlags): Promise<number> {
  const libc = await loadLibc();
  const descriptor = openTap(libc, flags.tap, true);
  const interrupt = new Interrupt();
  try {
    await serve(flags, libc, descriptor, interrupt);
  } catch (error) {
    // Asked to end while it waited for a backend.
    if (!interrupt.signal.aborted) throw error;
  } finally {
    libc.close(descriptor);
    interrupt.release();
  }
  return ExitCode.ok;
}

async function serve(
  flags: FrontendFlags,
  libc: Libc,
  descriptor: number,
  interrupt: Interrupt,
): Promise<void> {
  const domain = await openNativeDomain({
    ...(flags.store !== undefined && { store: flags.store }),
    log: (level, message) => {
      if (level !== 'debug') record({ event: 'message', level, message });
    },
    onStore: (lost) => {
      record({ event: 'store', state: lost === null ? 'connected' : 'lost', reason: lost });
    },
  });
  try {
    const frontend = new XenFrontend({
      domain,
      handle: flags.vif,
      device: new TapDevice(libc, { name: flags.tap, descriptor }, domain.memory.bytes, FRAGMENTS),
      queues: flags.queues,
      ...(flags.staticGrants !== undefined && { staticGrants: flags.staticGrants }),
      plugins: flags.plugin,
      pluginsFrom: flags.pluginsFrom,
      record: (line) => {
        record({ ...line });
      },
    });
    try {
      const vif = await frontend.start(interrupt.signal);
      configure(libc, flags, vif.mac, vif.mtu);
      record({ event: 'started', domain: domain.id, vif: flags.vif, tap: flags.tap, ...vif });
      await interrupt.asked;
    } finally {
      const { counters } = domain;
      record({ event: 'stopping', counters: { ...counters }, state: frontend.describe() });
      await frontend.stop();
      record({ event: 'stopped', ledger: domain.ledger() });
    }
  } finally {
    domain.close();
  }
}

/** Makes the interface what the vif is, and switches it on. */
function configure(libc: Libc, { tap, address }: FrontendFlags, mac: string, mtu: number): void {
  const control = new InterfaceControl(libc);
  try {
    control.setMacAddress(tap, mac);
    control.setMtu(tap, mtu);
    for (const one of address) control.setAddress(tap, one);
    control.setUp(tap);
  } finally {
    control.close();
  }
}

/** Writes one line of the log. */
function record(line: { readonly event: string } & Readonly<Record<string, unknown>>): void {
  printJson({ time: new Date().toISOString(), ...line }, 'line');
}
