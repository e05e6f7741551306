/**
 * Lab files: what hosts, guests and wires there are, in YAML.
 *
 * {@link loadLab} reads one and gives back plain data with all defaults filled in, or throws a
 * {@link LabFileError} with everything that is wrong, each with its line.
 */
export type * from './description.js';
export type { LabAddress } from './ip.js';
export { LAB_SCHEMA_ID, labJsonSchema, labJsonSchemaText } from './json-schema.js';
export { loadLab, type LoadLabOptions, parseLab, type ParseLabOptions } from './load.js';
export {
  LabFileError,
  type LabFileErrorData,
  type LabFirstPlace,
  type LabPlace,
  type LabProblem,
  type LabProblemCode,
  renderLabProblem,
} from './problem.js';
export type { LabSurroundings } from './resolve.js';
export { LAB_VERSION } from './schema.js';
export { LabLimits } from './source.js';
export { parseDuration, parseRate, parseSize } from './units.js';
