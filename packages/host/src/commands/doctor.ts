/** `netaccel doctor`: what this machine has and lacks, and what to do about it. */
import type { Command } from 'commander';
import { examine } from './doctor-checks.js';
import type { Finding } from './doctor-checks.js';
import { examples } from './options.js';
import { ExitCode, formatTable, printJson, styled } from './output.js';
import { runCommand } from './run.js';

/** Adds the command. */
export function registerDoctor(program: Command): void {
  program
    .command('doctor')
    .description('what this machine has and lacks for labs, and what to do about it')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `${examples([
        ['netaccel doctor', 'a table, with a remedy for whatever is missing'],
        ['netaccel doctor --json', 'for scripts'],
      ])}\n\nExit code 0: labs with TAPs run here. 4: they do not; frames mode may.`,
    )
    .action(({ json }: { json?: boolean }) =>
      runCommand(json, async () => {
        const findings = await examine();
        const canRunTaps = findings.every(({ needed, state }) => !needed || state === 'ok');
        if (json === true) printJson({ schema: 'netaccel.doctor/1', canRunTaps, findings });
        else console.log(doctorText(findings));
        return canRunTaps ? ExitCode.ok : ExitCode.environment;
      }),
    );
}

/** The findings for people. */
export function doctorText(findings: readonly Finding[]): string {
  const missing = findings.filter(({ state }) => state !== 'ok');
  const needed = missing.filter((finding) => finding.needed);
  const table = formatTable(
    ['', 'what', 'seen', 'for'],
    findings.map((finding) => [mark(finding), finding.what, finding.seen, finding.purpose]),
  );
  const remedies = missing.map(({ what, remedy }) => `${what}: ${remedy}`);
  const verdict =
    needed.length === 0
      ? styled('green', 'labs with TAPs run here')
      : `${styled('red', 'labs with TAPs do not run here')} (${needed.map(({ what }) => what).join(', ')}); ` +
        'netaccel demo --traffic frames does';
  return [
    table,
    '',
    ...(remedies.length === 0 ? [] : ['what to do:', ...remedies.map((line) => `  ${line}`), '']),
    verdict,
  ].join('\n');
}

function mark({ state, needed }: Finding): string {
  if (state === 'ok') return styled('green', 'ok');
  return needed ? styled('red', 'missing') : styled('yellow', 'without');
}
