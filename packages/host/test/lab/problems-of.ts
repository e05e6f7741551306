// The problems of a lab file's text, in a world with two plugins and one capture file.
import { LabFileError, parseLab, type LabProblem } from '../../src/lab/index.js';

const PLUGINS = ['@netaccel/dummy-accel-backend', '@netaccel/dummy-accel-frontend'];

/** The error that a text gives, or null when it is right. */
export function errorOf(text: string, file = 'lab.yaml'): LabFileError | null {
  try {
    parseLab(text, {
      file,
      directory: '/labs',
      resolvePlugin: (name) => {
        if (!PLUGINS.includes(name)) throw new Error('not found');
        return `file:///${name}`;
      },
      listPlugins: () => PLUGINS,
      fileExists: (path) => path === '/labs/there.pcap',
    });
  } catch (error) {
    if (error instanceof LabFileError) return error;
    throw error;
  }
  return null;
}

/** The problems of a text. */
export function problemsOf(text: string): readonly LabProblem[] {
  return errorOf(text)?.problems ?? [];
}
