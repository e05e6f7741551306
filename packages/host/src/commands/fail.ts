/** Which exit code an error means, so that scripts can tell a bad file from a machine that lacks something. */
import { ContractMismatchError, RegistryError } from '@netaccel/core-hooks';
import { NativeError } from '@netaccel/xen/native';
import { StoreSocketError } from '@netaccel/xen/store/socket';
import { CaptureFileError } from '../capture/index.js';
import { ControlError } from '../control/socket.js';
import { LabFileError } from '../lab/index.js';
import { PluginOptionsError } from '../plugin-options.js';
import { PluginLoadError } from '../plugins.js';
import { TapError } from '../tap/index.js';
import { UnknownNameError } from '../up/names.js';
import { LabPlanError } from '../up/plan.js';
import { XenBackendError } from '../xen/error.js';
import { InterruptedError } from './interrupt.js';
import { ExitCode, note, printJson, styled } from './output.js';

const BAD_INPUT = [
  LabFileError,
  LabPlanError,
  UnknownNameError,
  PluginLoadError,
  PluginOptionsError,
  ContractMismatchError,
  RegistryError,
  ControlError,
  CaptureFileError,
  StoreSocketError,
];

const BACKEND_CODES = {
  NETWORK: ExitCode.badInput,
  KERNEL_DRIVER: ExitCode.environment,
  STORE_LOST: ExitCode.failed,
} as const;

/** What a command ends with for this error. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof InterruptedError) return ExitCode.interrupted;
  if (error instanceof TapError || error instanceof NativeError) return ExitCode.environment;
  if (error instanceof XenBackendError) return BACKEND_CODES[error.code];
  return BAD_INPUT.some((kind) => error instanceof kind) ? ExitCode.badInput : ExitCode.failed;
}

/** Prints an error for people, or as JSON, and answers the exit code. */
export function report(error: unknown, json: boolean): number {
  const message = error instanceof Error ? error.message : String(error);
  if (json) printJson({ error: errorData(error, message) });
  else note(`${styled('red', 'netaccel:', process.stderr)} ${message}`);
  if (process.env['NETACCEL_DEBUG'] !== undefined && error instanceof Error) note(error.stack ?? '');
  return exitCodeOf(error);
}

function errorData(error: unknown, message: string): object {
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'ERROR';
  const reason = error instanceof ControlError && error.reason !== undefined ? { reason: error.reason } : {};
  const problems = error instanceof LabFileError ? { problems: error.problems } : {};
  return { code, message, ...reason, ...problems };
}
