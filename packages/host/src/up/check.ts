/**
 * What is looked at before a lab is started, besides the lab file: that its plugins load and speak our contract,
 * and that its capture files are captures. Nothing is started for it.
 */
import { CaptureReader, describeCaptureFault } from '../capture/index.js';
import { LabFileError } from '../lab/index.js';
import type { LabDescription, LabProblem } from '../lab/index.js';
import { problemsOf } from '../plugin-options.js';
import { loadPlugin } from '../plugins.js';
import { LabPlanError, pluginsFolder } from './plan.js';

/**
 * Loads every plugin that the lab names, and the frontend halves that those name, and judges their options.
 * @throws PluginLoadError, ContractMismatchError; LabFileError with every option that does not fit its plugin.
 */
export async function checkPlugins(lab: LabDescription): Promise<void> {
  const folder = pluginsFolder(lab);
  const problems: LabProblem[] = [];
  for (const host of lab.hosts) {
    const needFrontend = host.guests.some((guest) => guest.accel !== null && guest.frontend === null);
    for (const { name, options, optionPlaces } of host.accelerators) {
      const { frontend, options: schema } = await loadPlugin(name, 'backend', folder);
      for (const { option, where, nearest = null, ...text } of problemsOf(schema, options))
        problems.push({ ...text, ...optionPlaces[option]![where], file: lab.file, nearest, first: null });
      if (needFrontend) await loadPlugin(frontend, 'frontend', folder);
    }
    for (const { frontend } of host.guests)
      if (frontend !== null) await loadPlugin(frontend.name, 'frontend', folder);
  }
  if (problems.length > 0) throw new LabFileError(lab.file, problems);
}

/**
 * Opens every capture file that the lab replays.
 * @throws LabPlanError, CaptureFileError
 */
export function checkCaptures(lab: LabDescription): void {
  for (const host of lab.hosts)
    for (const { name, port } of host.guests) {
      if (port.kind !== 'pcap') continue;
      const reader = CaptureReader.open(port.file);
      try {
        if (reader.next() !== null) continue;
        const fault = reader.faults[0];
        const seen =
          fault === undefined
            ? `${port.file}: expected packets; seen none`
            : describeCaptureFault(fault, port.file);
        throw new LabPlanError(`${lab.file}: ${host.name}.${name}: ${seen}; nothing was started`);
      } finally {
        reader.close();
      }
    }
}
