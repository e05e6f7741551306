/**
 * The demo's report: one self-contained HTML page, charts by uPlot, which is put into the page.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { DemoResult, Run } from '../demo/result.js';
import { drawing } from './drawing.js';
import { style } from './style.js';

/** Stages in their order along the path get these colours, in both themes. */
const STAGE_COLOURS = ['#4e79a7', '#f28e2b', '#59a14f', '#b07aa1', '#9c755f'];

/** The whole page. */
export function reportPage(result: DemoResult): string {
  const require = createRequire(import.meta.url);
  const chartCode = readFileSync(require.resolve('uplot/dist/uPlot.iife.min.js'), 'utf8');
  const chartStyle = readFileSync(require.resolve('uplot/dist/uPlot.min.css'), 'utf8');
  const { samples, moments } = result.switchover;
  const data = {
    t: samples.map((s) => s.t),
    gbps: samples.map((s) => s.gbps),
    fast: samples.map((s) => s.fastShare * 100),
    filters: samples.map((s) => s.filters),
    moments,
  };
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>netaccel demo</title>
<style>${chartStyle}${style}</style>
</head>
<body>
<main>
<header>
<h1>netaccel demo</h1>
<p>${result.mode === 'tap' ? 'Kernel TCP' : 'Sequence-checked frames'} between two guests
on two hosts, plugin <code>${escape(result.plugin.frontend)}</code>, contract ${result.plugin.contract}.
${result.modeReason === undefined ? '' : escape(result.modeReason)}</p>
<p class="quiet">Node ${escape(result.environment.node)}, ${result.environment.cpus} CPUs, ${escape(result.environment.platform)}.
Ratios hold on this machine in this run; absolute figures are this machine's.</p>
</header>
<section class="figures">
<div><strong>${result.ratios.fastOverSlow.toFixed(2)}×</strong><span>fast over slow</span></div>
<div><strong>${(result.ratios.fastOverNative * 100).toFixed(0)} %</strong><span>of native</span></div>
<div><strong>${faults(result)}</strong><span>lost, doubled, reordered or corrupted</span></div>
</section>
<section><h2>The paths</h2>${drawing}</section>
<section><h2>Attach and detach under traffic</h2><div id="throughput"></div><div id="share"></div></section>
<section><h2>CPU time per frame, by stage</h2>${stages(result.runs)}</section>
<section><h2>Runs</h2>${table(result.runs)}</section>
<section><h2>Declined, and why</h2>${declines(result.runs)}</section>
</main>
<script>${chartCode}</script>
<script>const data = ${JSON.stringify(data).replaceAll('<', '\\u003c')};
${charts}</script>
</body>
</html>
`;
}

const charts = `
const dark = matchMedia('(prefers-color-scheme: dark)').matches;
const ink = dark ? '#ddd' : '#333', grid = dark ? '#3a3a3a' : '#e4e4e4';
const marks = { hooks: { draw: [(u) => {
  const { ctx } = u; ctx.save(); ctx.textAlign = 'left'; ctx.font = '12px system-ui'; ctx.fillStyle = ink; ctx.strokeStyle = ink; ctx.setLineDash([4, 4]);
  data.moments.forEach((m, i) => {
    const x = u.valToPos(m.t, 'x', true); ctx.beginPath(); ctx.moveTo(x, u.bbox.top); ctx.lineTo(x, u.bbox.top + u.bbox.height); ctx.stroke();
    ctx.fillText(m.what, x + 4, u.bbox.top + 14 + (i % 3) * 15);
  });
  ctx.restore();
}] } };
const width = () => Math.min(document.querySelector('main').clientWidth, 1080);
const axis = { stroke: ink, grid: { stroke: grid }, ticks: { stroke: grid } };
function chart(id, title, series, values, scale) {
  const u = new uPlot({ title, width: width(), height: 240, plugins: [marks], cursor: { drag: { x: true } },
    scales: { x: { time: false }, y: scale }, series: [{ label: 's', value: (u, v) => v == null ? '' : v.toFixed(2) }, ...series],
    axes: [{ ...axis, label: 'seconds' }, { ...axis }] }, [data.t, ...values], document.getElementById(id));
  addEventListener('resize', () => u.setSize({ width: width(), height: 240 }));
}
chart('throughput', 'Throughput (Gb/s)', [{ label: 'Gb/s', stroke: '#4e79a7', fill: '#4e79a733', width: 2 }], [data.gbps],
  { range: (u, lo, hi) => [0, hi * 1.15 || 1] });
chart('share', 'Received by the fast path (%), and filters in the NICs',
  [{ label: 'fast %', stroke: '#59a14f', fill: '#59a14f33', width: 2 }, { label: 'filters', stroke: '#f28e2b', width: 2 }],
  [data.fast, data.filters], { range: (u, lo, hi) => [0, Math.max(105, hi)] });
`;

function stages(runs: readonly Run[]): string {
  const most = Math.max(...runs.map((run) => run.stages.reduce((sum, s) => sum + s.nsPerFrame, 0)), 1);
  const names = [...new Set(runs.flatMap((run) => run.stages.map((s) => s.name)))];
  const colour = (name: string): string => STAGE_COLOURS[names.indexOf(name) % STAGE_COLOURS.length]!;
  const bars = runs.map((run) => {
    const total = run.stages.reduce((sum, s) => sum + s.nsPerFrame, 0);
    const parts = run.stages
      .filter((s) => s.nsPerFrame > 0)
      .map(
        (s) =>
          `<span style="width:${((s.nsPerFrame / most) * 100).toFixed(2)}%;background:${colour(s.name)}" ` +
          `title="${escape(s.name)}: ${s.nsPerFrame.toFixed(0)} ns"></span>`,
      );
    return `<tr><th>${run.path}</th><td>${size(run)}</td><td class="bar">${parts.join('')}</td><td class="n">${total.toFixed(0)} ns</td></tr>`;
  });
  const legend = names.map(
    (name) => `<span><i style="background:${colour(name)}"></i>${escape(name)}</span>`,
  );
  return `<p class="legend">${legend.join('')}</p><table class="stages">${bars.join('')}</table>`;
}

function table(runs: readonly Run[]): string {
  const rows = runs.map((run) => {
    const { check: c, accelerated: a } = run;
    const cells = [
      run.gbps.toFixed(2),
      run.mpps.toFixed(3),
      run.frames.toLocaleString('en'),
      a.txSent.toLocaleString('en'),
      a.rxFast.toLocaleString('en'),
      c.lost,
      c.duplicated,
      c.reordered,
      c.corrupted,
    ];
    return `<tr><th>${run.path}</th><td>${size(run)}</td>${cells.map((cell) => `<td class="n">${cell}</td>`).join('')}</tr>`;
  });
  const heads = [
    'path',
    'frames of',
    'Gb/s',
    'M frames/s',
    'frames',
    'sent fast',
    'received fast',
    'lost',
    'doubled',
    'reordered',
    'corrupted',
  ];
  return `<div class="wide"><table><thead><tr>${heads.map((h) => `<th>${h}</th>`).join('')}</tr></thead><tbody>${rows.join('')}</tbody></table></div>`;
}

function declines(runs: readonly Run[]): string {
  const total = new Map<string, number>();
  for (const run of runs)
    for (const [reason, n] of Object.entries(run.accelerated.declines))
      total.set(reason, (total.get(reason) ?? 0) + n);
  if (total.size === 0) return '<p>Nothing was declined: every frame that was offered went the fast way.</p>';
  const rows = [...total]
    .sort((a, b) => b[1] - a[1])
    .map(([r, n]) => `<tr><th>${escape(r)}</th><td class="n">${n.toLocaleString('en')}</td></tr>`);
  return `<table>${rows.join('')}</table>`;
}

function faults(result: DemoResult): number {
  const checks = [...result.runs.map((run) => run.check), result.switchover.attach, result.switchover.detach];
  return checks.reduce((sum, c) => sum + c.lost + c.duplicated + c.reordered + c.corrupted, 0);
}

function size(run: Run): string {
  return run.traffic === 'tcp' ? `TCP, ${run.frameBytes} B` : `${run.frameBytes} B`;
}

function escape(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}
