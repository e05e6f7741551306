/** A conformance report as a page and as a JUnit file. Everything of the plugin is escaped: its words are not ours. */
import type { ConformanceReport, RuleResult } from '@netaccel/core-hooks/conformance';
import { style } from './style.js';

const WORDS = { passed: 'kept', failed: 'broken', untested: 'untested' } as const;

/** A JUnit file: a test case for each rule, in a class for each group of them. */
export function conformJunit(report: ConformanceReport): string {
  const cases = report.results.map((result) => {
    const head = `<testcase classname="conformance.${escape(group(result))}" name="${escape(`${result.id}: ${result.title}`)}" time="${(result.ms / 1000).toFixed(3)}"`;
    if (result.status === 'passed') return `    ${head}/>`;
    const message = escape(result.message ?? '');
    const inside =
      result.status === 'failed'
        ? `<failure message="${message.split('\n')[1]?.trim() ?? message}">${message}</failure>`
        : `<skipped message="${message}"/>`;
    return `    ${head}>${inside}</testcase>`;
  });
  const seconds = report.results.reduce((sum, { ms }) => sum + ms, 0) / 1000;
  const counts = `tests="${report.results.length}" failures="${report.failed}" skipped="${report.untested}" time="${seconds.toFixed(3)}"`;
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites ${counts}>`,
    `  <testsuite name="${escape(`${report.backend} with ${report.frontend}`)}" ${counts}>`,
    ...cases,
    '  </testsuite>',
    '</testsuites>',
    '',
  ].join('\n');
}

/** One self-contained page: the figures, then each rule, broken ones first. */
export function conformPage(report: ConformanceReport): string {
  const order = { failed: 0, untested: 1, passed: 2 } as const;
  const rows = [...report.results]
    .sort((a, b) => order[a.status] - order[b.status])
    .map(
      (result) =>
        `<tr class="${result.status}"><td>${WORDS[result.status]}</td><td><code>${escape(result.id)}</code></td>` +
        `<td>${escape(result.title)}${result.message === null ? '' : `<pre>${escape(result.message)}</pre>`}</td></tr>`,
    );
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Conformance of ${escape(report.backend)}</title>
<style>${style}td { white-space: normal; vertical-align: top; } pre { white-space: pre-wrap; margin: 6px 0 0; }
.failed td:first-child { color: #c33; font-weight: 600; } .untested td:first-child { color: #b80; }</style>
</head>
<body>
<main>
<h1>Conformance</h1>
<p class="quiet">${escape(report.backend)} with ${escape(report.frontend)}, seed ${report.seed}</p>
<div class="figures">
<div><strong>${report.passed}</strong><span>rules kept</span></div>
<div><strong>${report.failed}</strong><span>broken</span></div>
<div><strong>${report.untested}</strong><span>untested because of those</span></div>
</div>
<div class="wide"><table>
<tr><th>state</th><th>rule</th><th>promise</th></tr>
${rows.join('\n')}
</table></div>
</main>
</body>
</html>
`;
}

function group({ id }: RuleResult): string {
  return id.split('.')[0]!;
}

function escape(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}
