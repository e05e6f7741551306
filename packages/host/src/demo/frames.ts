/**
 * The demo in frames mode: counted frames in one thread. Native, slow and fast in turns, so that the ratios hold on a
 * noisy machine; then the plugin is attached and detached under traffic, and every frame is accounted for.
 */
import { CONTRACT_VERSION } from '@netaccel/core-hooks';
import type { Check } from '../traffic/frame-check.js';
import { environment } from './environment.js';
import { FramesLab } from './frames-lab.js';
import type { Stretch } from './frames-run.js';
import { addChecks, median, ratiosOf, since } from './figures.js';
import { replayBothWays } from './replay.js';
import type { Accelerated, DemoResult, Moment, Path, Run, Sample, Stage } from './result.js';

/** How a demo is run. */
export interface DemoOptions {
  /** Npm name or path of the backend plugin. */
  readonly plugin: string;
  /** Folder that plugin names are resolved from. */
  readonly pluginsFrom: string;
  readonly seed: number;
  /** Seconds of each measured stretch. */
  readonly seconds: number;
  /** Rounds of native, slow and fast. */
  readonly rounds: number;
  /** Why it is frames, when that was not asked for. */
  readonly reason?: string;
  /** Tells what goes on. */
  readonly progress: (what: string) => void;
}

const PATHS: readonly Path[] = ['native', 'slow', 'fast'];
const SIZES = [64, 1514, 9014];
const MTU = 9000;
/** Frames of the first, unmeasured stretch, which also says how many fill a measured one. */
const WARM_UP_FRAMES = 20_000;
/** Pieces that the switchover is sampled in. */
const SAMPLE_MS = 50;
/** Sizes of the switchover's traffic, shortest to jumbo. */
const MIXED_SIZES = [64, 128, 256, 594, 1514, 4096, 9014];

/** Runs the demo. */
export async function framesDemo(options: DemoOptions): Promise<DemoResult> {
  const { progress } = options;
  progress('starting two hosts, a guest on each, and a wire');
  const lab = await FramesLab.start({
    seed: options.seed,
    mtu: MTU,
    plugin: options.plugin,
    pluginsFrom: options.pluginsFrom,
  });
  try {
    const runs: Run[] = [];
    for (const size of SIZES) runs.push(...(await compare(lab, size, options)));
    progress('replaying a capture by the slow path, then by both');
    const replay = await replayBothWays(lab);
    const plugin = lab.pluginNames();
    await lab.unload();
    const switchover = await switchOver(lab, options);
    return {
      schema: 'netaccel.demo/1',
      mode: 'frames',
      ...(options.reason === undefined ? {} : { modeReason: options.reason }),
      runs,
      ratios: ratiosOf(runs),
      replay,
      switchover,
      plugin: { ...plugin, contract: CONTRACT_VERSION },
      environment: environment(),
    };
  } finally {
    progress('taking everything down');
    await lab.stop();
  }
}

/** Native, slow and fast with frames of one size, in turns. */
async function compare(lab: FramesLab, size: number, options: DemoOptions): Promise<Run[]> {
  const gathered = new Map<Path, Stretch[]>(PATHS.map((path) => [path, []]));
  const stages = new Map<Path, Stage[]>();
  const checks = new Map<Path, Check[]>(PATHS.map((path) => [path, []]));
  for (let round = 0; round < options.rounds; round++) {
    for (const path of PATHS) {
      options.progress(`${size} B frames, round ${round + 1} of ${options.rounds}: ${path}`);
      if (path === 'fast') await lab.load();
      else await lab.unload();
      const run = lab.run(path, [size]);
      const warm = await run.send(WARM_UP_FRAMES);
      const frames = Math.max(WARM_UP_FRAMES, Math.round((warm.frames / warm.seconds) * options.seconds));
      gathered.get(path)!.push(await run.send(frames));
      if (round === 0)
        stages.set(
          path,
          perFrame(
            await lab.profile(async () => {
              await run.send(WARM_UP_FRAMES);
            }),
            WARM_UP_FRAMES,
          ),
        );
      checks.get(path)!.push(await run.settled());
      run.close();
    }
  }
  return PATHS.map((path) => summary(path, size, gathered.get(path)!, checks.get(path)!, stages.get(path)!));
}

/** Attach and detach while frames of all sizes flow. */
async function switchOver(lab: FramesLab, options: DemoOptions): Promise<DemoResult['switchover']> {
  const run = lab.run('slow', MIXED_SIZES, 1);
  const samples: Sample[] = [];
  const moments: Moment[] = [];
  const start = performance.now();
  const now = (): number => (performance.now() - start) / 1000;
  let seen = { ...lab.accelerated(), bytes: 0, t: 0 };
  const sample = async (pieces: number): Promise<void> => {
    for (let i = 0; i < pieces; i++) {
      await run.flow(SAMPLE_MS);
      const at = { ...lab.accelerated(), bytes: run.bytes, t: now() };
      const fast = at.rxFast - seen.rxFast;
      const slow = at.rxSlow - seen.rxSlow;
      samples.push({
        t: at.t,
        gbps: ((at.bytes - seen.bytes) * 8) / (at.t - seen.t) / 1e9,
        fastShare: fast + slow === 0 ? 0 : fast / (fast + slow),
        filters: lab.filters(),
      });
      seen = at;
    }
  };
  const pieces = Math.max(4, Math.round((options.seconds * 1000) / SAMPLE_MS));
  options.progress('traffic flows by the slow path');
  run.begin();
  await sample(pieces);
  moments.push({ t: now(), what: 'plugin loaded' });
  options.progress('traffic flows; the plugin is loaded');
  await lab.load();
  await sample(pieces);
  const attach = await run.settled();
  moments.push({ t: now(), what: 'plugin unloaded' });
  options.progress('traffic flows; the plugin is unloaded');
  run.begin();
  await lab.unload();
  await sample(pieces);
  const all = await run.settled();
  run.close();
  return { attach, detach: since(attach, all), samples, moments };
}

function summary(path: Path, size: number, stretches: Stretch[], checks: Check[], stages: Stage[]): Run {
  const sum = (pick: (s: Stretch) => number): number => stretches.reduce((total, s) => total + pick(s), 0);
  const rounds = stretches.map((s) => (s.bytes * 8) / s.seconds / 1e9);
  return {
    path,
    traffic: 'frames',
    frameBytes: size,
    seconds: sum((s) => s.seconds),
    frames: sum((s) => s.frames),
    bytes: sum((s) => s.bytes),
    gbps: median(rounds),
    mpps: median(stretches.map((s) => s.frames / s.seconds / 1e6)),
    check: addChecks(checks),
    accelerated: addAccelerated(stretches.map((s) => s.accelerated)),
    stages,
    rounds,
  };
}

function perFrame(stages: readonly Stage[], frames: number): Stage[] {
  return stages.map(({ name, nsPerFrame }) => ({ name, nsPerFrame: nsPerFrame / frames }));
}

function addAccelerated(all: readonly Accelerated[]): Accelerated {
  const total: Accelerated = { txSent: 0, txDeclined: 0, rxFast: 0, rxSlow: 0, declines: {} };
  for (const a of all) {
    total.txSent += a.txSent;
    total.txDeclined += a.txDeclined;
    total.rxFast += a.rxFast;
    total.rxSlow += a.rxSlow;
    for (const [reason, n] of Object.entries(a.declines))
      total.declines[reason] = (total.declines[reason] ?? 0) + n;
  }
  return total;
}
