/**
 * The frontend on a real host: opens the domain and the TAP, runs the core until it is told to end, through saves and
 * restores of the guest, and logs each change.
 */
import { openNativeDomain } from '@netaccel/xen/native';
import { Interrupt } from '../commands/interrupt.js';
import { ExitCode, printJson } from '../commands/output.js';
import { InterfaceControl, TapDevice, loadLibc, openTap } from '../tap/index.js';
import type { Libc } from '../tap/index.js';
import type { ConnectedVif } from './frontend.js';
import { serveLives } from './lives.js';
import type { LivesOptions } from './lives.js';

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
  { signal }: Interrupt,
): Promise<void> {
  const tap = new ConfiguredTap(libc, flags);
  const lives: LivesOptions = {
    open: (onRestored) =>
      openNativeDomain({
        ...(flags.store !== undefined && { store: flags.store }),
        log: (level, message) => {
          if (level !== 'debug') record({ event: 'message', level, message });
        },
        onStore: (lost) => {
          record({ event: 'store', state: lost === null ? 'connected' : 'lost', reason: lost });
        },
        onRestored,
      }),
    frontend: (domain) => ({
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
    }),
    onConnected: (vif) => {
      tap.configure(vif);
    },
    record,
  };
  await serveLives(lives, signal);
}

/** The interface: what the vif is, with the addresses that were asked for, and on. Left alone while that holds. */
class ConfiguredTap {
  private last: ConnectedVif | null = null;

  constructor(
    private readonly libc: Libc,
    private readonly flags: FrontendFlags,
  ) {}

  configure(vif: ConnectedVif): void {
    const { libc, last } = this;
    const { tap, address } = this.flags;
    const control = new InterfaceControl(libc);
    try {
      if (last?.mac !== vif.mac) control.setMacAddress(tap, vif.mac);
      if (last?.mtu !== vif.mtu) control.setMtu(tap, vif.mtu);
      if (last !== null) return;
      for (const one of address) control.setAddress(tap, one);
      control.setUp(tap);
    } finally {
      control.close();
      this.last = vif;
    }
  }
}

/** Writes one line of the log. */
function record(line: { readonly event: string } & Readonly<Record<string, unknown>>): void {
  printJson({ time: new Date().toISOString(), ...line }, 'line');
}
