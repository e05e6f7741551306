/**
 * `netaccel conform`: holds a plugin to the contract, and says what it does not keep, why, and what to do.
 *
 * The plugin is named by either half; the other is found by the name that the back half gives, or named as well.
 */
import { writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { BackendAcceleratorDefinition, FrontendAcceleratorDefinition } from '@netaccel/core-hooks';
import { conformanceRules, runConformance } from '@netaccel/core-hooks/conformance';
import type { Bench, BenchMachine, ConformanceSubject, RuleResult } from '@netaccel/core-hooks/conformance';
import { FlatMemory, VirtualClock } from '@netaccel/core-hooks/testing';
import { nicBench } from '@netaccel/nic-vi/testing';
import type { Command } from 'commander';
import { PluginLoadError, loadPlugin, resolvePlugin } from '../plugins.js';
import { conformJunit, conformPage } from '../report/conform.js';
import { examples, positiveInteger } from './options.js';
import { ExitCode, Progress, printJson, styled } from './output.js';
import { runCommand } from './run.js';

interface Flags {
  readonly frontend?: string;
  readonly backend?: string;
  readonly only?: string[];
  readonly seed: number;
  readonly json?: boolean;
  readonly junit?: string;
  readonly html?: string;
  readonly list?: boolean;
}

/** Pages that a bench is tried with: whether the plugin knows its device. */
const TRIAL_PAGES = 2048;

/** Adds the command. */
export function registerConform(program: Command): void {
  program
    .command('conform')
    .description('hold a plugin to the contract: which rules it keeps, and what to do about the others')
    .argument('[plugin]', 'npm name or path of either half; the other is found by its name')
    .option('--frontend <plugin>', 'the front half, when the back half does not lead to it')
    .option('--backend <plugin>', 'the back half, when a front half was named')
    .option('--only <rules...>', 'rules by id, or by what ids begin with: transmit, ledger.grants')
    .option('--seed <number>', 'of everything that is random', positiveInteger, 1)
    .option('--list', 'print the rules instead')
    .option('--json', 'print JSON')
    .option('--junit <file>', 'write a JUnit file besides')
    .option('--html <file>', 'write a page besides')
    .addHelpText(
      'after',
      `${examples([
        ['netaccel conform ./dist/index.js', 'a plugin that you are writing'],
        ['netaccel conform @netaccel/dummy-accel-backend', 'one that is installed'],
        ['netaccel conform my-nic --only transmit room', 'some of the rules'],
        ['netaccel conform my-nic --junit conform.xml', 'for a CI that shows test results'],
      ])}\n\nA plugin for another device than ours exports its \`bench\` beside the default export.\n` +
        'Exit code 0: every rule is kept. 1: one is not. 3: the plugin cannot be loaded.',
    )
    .action((plugin: string | undefined, flags: Flags) =>
      runCommand(flags.json, async () => {
        if (flags.list === true) return list(flags);
        if (plugin === undefined)
          throw new PluginLoadError(
            'UNRESOLVED',
            'expected a plugin: an npm name, or a path that begins with ./',
          );
        const subject = await subjectOf(plugin, flags);
        const progress = new Progress(flags.json === true);
        const only = flags.only ?? [];
        const report = await runConformance(() => subject, {
          seed: flags.seed,
          ...(only.length > 0 && { only }),
          onResult: ({ id }) => progress.show(`checked ${id}`),
        });
        progress.clear();
        if (report.results.length === 0)
          throw new PluginLoadError(
            'UNRESOLVED',
            `no rule begins with ${only.join(', ')}; "netaccel conform --list" names them all`,
          );
        if (flags.junit !== undefined) writeFileSync(flags.junit, conformJunit(report));
        if (flags.html !== undefined) writeFileSync(flags.html, conformPage(report));
        if (flags.json === true) {
          const results = report.results.map(({ error, ...result }) => ({
            ...result,
            finding: error !== null && 'finding' in error ? error.finding : null,
          }));
          printJson({ schema: 'netaccel.conform/1', ...report, results });
        } else {
          for (const result of report.results) console.log(line(result));
          const { passed, failed, untested } = report;
          console.log(
            `\n${report.backend} with ${report.frontend}: ${passed} rules kept, ${failed} broken` +
              (untested > 0 ? `, ${untested} untested because of those` : ''),
          );
        }
        return report.conforms ? ExitCode.ok : ExitCode.failed;
      }),
    );
}

function list({ json }: Flags): number {
  const all = conformanceRules();
  if (json === true) printJson({ schema: 'netaccel.conform-rules/1', rules: all });
  else for (const { id, title } of all) console.log(`${id.padEnd(28)}${title}`);
  return ExitCode.ok;
}

/** Both halves, and a device that they know. */
async function subjectOf(plugin: string, flags: Flags): Promise<ConformanceSubject> {
  let frontend: FrontendAcceleratorDefinition;
  let backend: BackendAcceleratorDefinition;
  let backName = plugin;
  if (flags.backend === undefined && !(await isFrontend(plugin))) {
    backend = await loadPlugin(plugin, 'backend');
    // The front half lies beside the back half, as it does for a guest of the same host.
    const from = dirname(fileURLToPath(resolvePlugin(plugin)));
    frontend =
      flags.frontend === undefined
        ? await loadPlugin(backend.frontend, 'frontend', from)
        : await loadPlugin(flags.frontend, 'frontend');
  } else {
    frontend = await loadPlugin(plugin, 'frontend');
    if (flags.backend === undefined)
      throw new PluginLoadError(
        'WRONG_KIND',
        `${plugin} is a front half; name its back half as well: netaccel conform ${plugin} --backend NAME`,
      );
    backName = flags.backend;
    backend = await loadPlugin(backName, 'backend');
  }
  return { frontend, backend, bench: await benchOf(backName, backend) };
}

async function isFrontend(plugin: string): Promise<boolean> {
  const module = (await importOf(plugin)) as { default?: { kind?: unknown } } | null;
  return module?.default?.kind === 'frontend';
}

/** The module of a plugin; null when it cannot be imported, which loading it says better. */
async function importOf(plugin: string): Promise<unknown> {
  const url = resolvePlugin(plugin);
  try {
    return await import(url);
  } catch {
    return null;
  }
}

/** The plugin's own bench, or the one of our NIC. */
async function benchOf(
  plugin: string,
  backend: BackendAcceleratorDefinition,
): Promise<(machine: BenchMachine) => Bench> {
  const own = ((await importOf(plugin)) as { bench?: unknown } | null)?.bench;
  if (typeof own === 'function') return own as (machine: BenchMachine) => Bench;
  const ours = nicBench();
  const memory = new FlatMemory(TRIAL_PAGES);
  const { device } = ours({
    memory,
    clock: new VirtualClock(),
    allocate: (pages) => memory.allocate(pages),
    raise: () => undefined,
  });
  if (!backend.supports(device))
    throw new PluginLoadError(
      'WRONG_KIND',
      `${plugin} does not support the NIC of @netaccel/nic-vi; expected a bench of its own device: ` +
        'export `bench`, a function as in ConformanceSubject of @netaccel/core-hooks/conformance',
    );
  return ours;
}

function line({ id, title, status, message }: RuleResult): string {
  if (status === 'passed') return `${styled('green', 'kept    ')}  ${id}: ${title}`;
  if (status === 'untested') return `${styled('yellow', 'untested')}  ${id}: ${message ?? ''}`;
  // The message begins with the rule's id, which is there already.
  const advice = (message ?? '').split('\n').slice(1).join('\n');
  return `${styled('red', 'broken  ')}  ${id}: ${title}\n${advice === '' ? `  ${message ?? ''}` : advice}`;
}
