/**
 * Makes projects of accelerator plugins: what `npm create @netaccel/plugin` runs, for programs.
 *
 * @packageDocumentation
 */
export { CreateError } from './error.js';
export type { CreateErrorCode } from './error.js';
export { checkName } from './name.js';
export { createProject, deviceKinds } from './project.js';
export type { DeviceKind, Project } from './project.js';
