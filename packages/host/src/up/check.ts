/**
 * What is looked at before a lab is started, besides the lab file: that its plugins load and speak our contract,
 * and that its capture files are captures. Nothing is started for it.
 */
import { CaptureReader, describeCaptureFault } from '../capture/index.js';
import type { LabDescription } from '../lab/index.js';
import { loadPlugin } from '../plugins.js';
import { LabPlanError, pluginsFolder } from './plan.js';

/**
 * Loads every plugin that the lab names, and the frontend halves that those name.
 * @throws PluginLoadError, ContractMismatchError
 */
export async function checkPlugins(lab: LabDescription): Promise<void> {
  const folder = pluginsFolder(lab);
  for (const host of lab.hosts) {
    const needFrontend = host.guests.some((guest) => guest.accel !== null && guest.frontend === null);
    for (const { name } of host.accelerators) {
      const { frontend } = await loadPlugin(name, 'backend', folder);
      if (needFrontend) await loadPlugin(frontend, 'frontend', folder);
    }
    for (const { frontend } of host.guests)
      if (frontend !== null) await loadPlugin(frontend.name, 'frontend', folder);
  }
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
