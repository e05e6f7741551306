/**
 * The demo with real TCP: guests and driver domains are network namespaces with a TAP each, a thread a domain,
 * and the traffic is between ordinary processes that compare every byte.
 */
import { fileURLToPath } from 'node:url';
import { CONTRACT_VERSION } from '@netaccel/core-hooks';
import type { Check } from '../traffic/frame-check.js';
import { environment } from './environment.js';
import { addChecks, median, ratiosOf, since } from './figures.js';
import type { DemoOptions } from './frames.js';
import type { Accelerated, DemoResult, Moment, Path, Run, Sample, Stage } from './result.js';
import { TcpLab } from './tcp-lab.js';
import type { Readings } from './tcp-lab.js';
import { TcpTransfer } from './tcp-transfer.js';

const PATHS: readonly Path[] = ['native', 'slow', 'fast'];
/** Largest frame on the wire: 1500 bytes of payload and the Ethernet header. */
const WIRE_FRAME_BYTES = 1514;
/** A short transfer before each measured one: addresses are learned, filters appear, TCP's window opens. */
const WARM_UP_SECONDS = 0.3;
const SAMPLE_MS = 200;
const PEER = fileURLToPath(new URL('./tcp-peer.js', import.meta.url));

interface Stretch {
  readonly seconds: number;
  readonly bytes: number;
  readonly check: Check;
  readonly before: Readings;
  readonly after: Readings;
}

/** Runs the demo. The process is in its user namespace already. */
export async function tcpDemo(options: DemoOptions): Promise<DemoResult> {
  const lab = await TcpLab.start(options);
  const interrupted = (): void => {
    void lab.stop().finally(() => process.exit(130));
  };
  process.once('SIGINT', interrupted);
  process.once('SIGTERM', interrupted);
  try {
    const { runs, plugin } = await compare(lab, options);
    const switchover = await switchOver(lab, options);
    return {
      schema: 'netaccel.demo/1',
      mode: 'tap',
      runs,
      ratios: ratiosOf(runs),
      switchover,
      plugin: { ...plugin, contract: CONTRACT_VERSION },
      environment: environment(),
    };
  } finally {
    options.progress('taking everything down');
    process.off('SIGINT', interrupted);
    process.off('SIGTERM', interrupted);
    await lab.stop();
  }
}

async function compare(
  lab: TcpLab,
  options: DemoOptions,
): Promise<{ runs: Run[]; plugin: { frontend: string; backend: string } }> {
  const stretches = new Map<Path, Stretch[]>(PATHS.map((path) => [path, []]));
  let plugin = { frontend: '', backend: '' };
  for (let round = 0; round < options.rounds; round++)
    for (const path of PATHS) {
      options.progress(`TCP, round ${round + 1} of ${options.rounds}: ${path}`);
      if (path === 'fast') await lab.load(options.plugin);
      else await lab.unload();
      if (path === 'fast') plugin = await lab.pluginNames();
      await transfer(lab, path, WARM_UP_SECONDS);
      stretches.get(path)!.push(await transfer(lab, path, options.seconds));
    }
  return { runs: PATHS.map((path) => summary(path, stretches.get(path)!)), plugin };
}

/** One transfer, measured from outside: what the processes say, and what the lab counted meanwhile. */
async function transfer(lab: TcpLab, path: Path, seconds: number): Promise<Stretch> {
  const before = await lab.readings();
  const { from, to, address } = lab.ends(path);
  const running = await TcpTransfer.start(PEER, from, to, address, seconds);
  const result = await running.ended;
  return { ...result, before, after: await lab.readings() };
}

async function switchOver(lab: TcpLab, options: DemoOptions): Promise<DemoResult['switchover']> {
  await lab.unload();
  const samples: Sample[] = [];
  const moments: Moment[] = [];
  const phase = Math.max(1, options.seconds);
  const { from, to, address } = lab.ends('slow');
  const running = await TcpTransfer.start(PEER, from, to, address, phase * 3 + 2);
  const start = performance.now();
  const now = (): number => (performance.now() - start) / 1000;
  let seen = { ...(await lab.readings()), bytes: 0, t: 0 };
  const sampleFor = async (seconds: number): Promise<void> => {
    for (const end = now() + seconds; now() < end;) {
      await new Promise((resolve) => setTimeout(resolve, SAMPLE_MS));
      const at = { ...(await lab.readings()), bytes: running.received, t: now() };
      const fast = at.accelerated.rxFast - seen.accelerated.rxFast;
      const slow = at.accelerated.rxSlow - seen.accelerated.rxSlow;
      samples.push({
        t: at.t,
        gbps: ((at.bytes - seen.bytes) * 8) / (at.t - seen.t) / 1e9,
        fastShare: fast + slow === 0 ? 0 : fast / (fast + slow),
        filters: at.filters,
      });
      seen = at;
    }
  };
  options.progress('a connection is open, by the slow path');
  await sampleFor(phase);
  moments.push({ t: now(), what: 'plugin loaded' });
  options.progress('the plugin is loaded under the open connection');
  await lab.load(options.plugin);
  await sampleFor(phase);
  const attach = running.check();
  moments.push({ t: now(), what: 'plugin unloaded' });
  options.progress('the plugin is unloaded under the open connection');
  await lab.unload();
  await sampleFor(phase);
  options.progress('waiting for the connection to end');
  const { check } = await running.ended;
  return { attach, detach: since(attach, check), samples, moments };
}

function summary(path: Path, stretches: readonly Stretch[]): Run {
  const sum = (pick: (s: Stretch) => number): number => stretches.reduce((total, s) => total + pick(s), 0);
  const frames = sum(({ before, after }) => after.wireFrames - before.wireFrames);
  const rounds = stretches.map((s) => (s.bytes * 8) / s.seconds / 1e9);
  return {
    path,
    traffic: 'tcp',
    frameBytes: WIRE_FRAME_BYTES,
    seconds: sum((s) => s.seconds),
    frames,
    bytes: sum((s) => s.bytes),
    gbps: median(rounds),
    mpps: median(stretches.map((s) => (s.after.wireFrames - s.before.wireFrames) / s.seconds / 1e6)),
    check: addChecks(stretches.map((s) => s.check)),
    accelerated: acceleratedIn(stretches),
    stages: stagesOf(stretches, frames),
    rounds,
  };
}

function stagesOf(stretches: readonly Stretch[], frames: number): Stage[] {
  const names = stretches[0]!.before.cpu.map(({ name }) => name);
  return names.map((name, i) => ({
    name,
    nsPerFrame:
      stretches.reduce((ns, s) => ns + s.after.cpu[i]!.nanos - s.before.cpu[i]!.nanos, 0) /
      Math.max(1, frames),
  }));
}

function acceleratedIn(stretches: readonly Stretch[]): Accelerated {
  const total: Accelerated = { txSent: 0, txDeclined: 0, rxFast: 0, rxSlow: 0, declines: {} };
  for (const { before, after } of stretches) {
    total.txSent += after.accelerated.txSent - before.accelerated.txSent;
    total.txDeclined += after.accelerated.txDeclined - before.accelerated.txDeclined;
    total.rxFast += after.accelerated.rxFast - before.accelerated.rxFast;
    total.rxSlow += after.accelerated.rxSlow - before.accelerated.rxSlow;
    for (const [reason, n] of Object.entries(after.accelerated.declines)) {
      const more = n - (before.accelerated.declines[reason] ?? 0);
      if (more > 0) total.declines[reason] = (total.declines[reason] ?? 0) + more;
    }
  }
  return total;
}
