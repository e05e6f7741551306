/** The report's style sheet; light and dark by the reader's preference. */
export const style = `
:root { color-scheme: light dark; --ink: #222; --quiet: #666; --line: #ddd; --card: #f6f7f9; --page: #fff; }
@media (prefers-color-scheme: dark) { :root { --ink: #ddd; --quiet: #999; --line: #3a3a3a; --card: #232527; --page: #181a1b; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 32px 24px 64px; }
h1 { font-size: 28px; margin: 0; } h2 { font-size: 18px; margin: 36px 0 10px; }
.quiet { color: var(--quiet); margin-top: 0; }
.figures { display: grid; grid-template-columns: repeat(3, 1fr); gap: 16px; margin-top: 24px; }
.figures div { background: var(--card); border-radius: 10px; padding: 18px; }
.figures strong { display: block; font-size: 34px; line-height: 1.1; } .figures span { color: var(--quiet); }
table { border-collapse: collapse; width: 100%; } th { text-align: left; font-weight: 600; }
th, td { padding: 6px 10px; border-bottom: 1px solid var(--line); white-space: nowrap; }
.n { text-align: right; font-variant-numeric: tabular-nums; } .wide { overflow-x: auto; }
.stages .bar { width: 70%; } .bar span { display: inline-block; height: 16px; vertical-align: middle; }
.legend span { margin-right: 18px; } .legend i { display: inline-block; width: 12px; height: 12px; margin-right: 6px; border-radius: 2px; }
svg.paths { width: 100%; height: auto; } svg.paths text { font: 13px system-ui, sans-serif; fill: var(--ink); }
svg.paths rect { fill: var(--card); stroke: var(--line); } .uplot { margin: 0 auto 12px; } .u-title { font-size: 14px; font-weight: 600; }
`;
