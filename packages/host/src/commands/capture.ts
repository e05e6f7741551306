/** `netaccel capture`: frames of a wire, a VI, a bridge or a vif into a pcapng file, with the path that each took. */
import { closeSync, openSync, writeSync } from 'node:fs';
import type { Command } from 'commander';
import { CaptureFileError } from '../capture/index.js';
import type { CaptureFileErrorCode } from '../capture/index.js';
import { openStream } from '../control/socket.js';
import type { CaptureProgress } from '../up/capture-session.js';
import { Interrupt } from './interrupt.js';
import { examples, positive, positiveInteger, withLab } from './options.js';
import type { LabFlags } from './options.js';
import { Progress, note, printJson } from './output.js';
import { scaled } from './rates.js';
import { runCommand } from './run.js';

interface Flags extends LabFlags {
  readonly write: string;
  readonly seconds?: number;
  readonly count?: number;
  readonly snap?: number;
}

const STANDARD_OUTPUT = 1;

/** Adds the command. */
export function registerCapture(program: Command): void {
  withLab(program.command('capture').description('capture frames of a running lab into a pcapng file'))
    .argument(
      '<target>',
      'a NIC port (alpha.eth0: its wire), a VI (alpha.eth0.vi1), a guest (its vif), or a host (its whole bridge)',
    )
    .requiredOption('-w, --write <file>', 'the file, or - for standard output')
    .option('--seconds <n>', 'end after so long', positive)
    .option('--count <n>', 'end after so many frames', positiveInteger)
    .option('--snap <bytes>', 'keep so much of each frame', positiveInteger)
    .addHelpText(
      'after',
      `${examples([
        ['netaccel capture alpha.eth0 -w wire.pcapng --seconds 10', 'all that passes the wire, both paths'],
        ['netaccel capture alpha.eth0.vi1 -w fast.pcapng', 'what one VI sends, and what filters lead to it'],
        ['netaccel capture a -w slow.pcapng --count 100', "a guest's vif: its slow path only"],
        ['netaccel capture alpha -w - | tshark -r -', 'a whole bridge, live'],
      ])}\n\nThe comment of each frame is its path: fast, slow or native. Ctrl-C ends the capture; the file is whole.`,
    )
    .action((target: string, flags: Flags) => runCommand(flags.json, () => capture(target, flags)));
}

async function capture(target: string, flags: Flags): Promise<undefined> {
  const toStandardOutput = flags.write === '-';
  const progress = new Progress(flags.json === true || toStandardOutput);
  const interrupt = new Interrupt();
  const file = new OutputFile(flags.write);
  let result: CaptureProgress;
  let timer: NodeJS.Timeout | undefined;
  try {
    const stream = await openStream(flags.lab, 'capture', {
      target,
      count: flags.count ?? 0,
      snapBytes: flags.snap ?? 0,
    });
    const stop = (): void => {
      stream.stop();
    };
    void interrupt.asked.then(stop);
    if (flags.seconds !== undefined) timer = setTimeout(stop, flags.seconds * 1000);
    result = (await stream.read(
      (bytes) => {
        file.write(bytes);
      },
      (said) => {
        progress.show(
          `${target}: ${summary(said as CaptureProgress)}, ${scaled(file.bytes, 'B')}; Ctrl-C ends`,
        );
      },
    )) as CaptureProgress;
  } finally {
    clearTimeout(timer);
    progress.clear();
    interrupt.release();
    file.close();
  }
  if (toStandardOutput) note(`${target}: ${summary(result)}`);
  else if (flags.json === true) printJson({ target, file: flags.write, ...result, bytes: file.bytes });
  else console.log(`${flags.write}: ${summary(result)}, ${scaled(file.bytes, 'B')}`);
  return undefined;
}

function summary({ frames, lost }: CaptureProgress): string {
  const captured = `${frames} ${frames === 1 ? 'frame' : 'frames'}`;
  return lost === 0 ? captured : `${captured}, ${lost} more went by uncaptured (too fast for this machine)`;
}

/** Where a capture goes. Created with its first bytes: a capture that was refused leaves a file as it was. */
class OutputFile {
  /** Bytes written. */
  bytes = 0;
  private descriptor: number | null = null;

  constructor(private readonly path: string) {
    if (path === '-') this.descriptor = STANDARD_OUTPUT;
  }

  write(bytes: Uint8Array): void {
    const descriptor = (this.descriptor ??= this.open());
    for (let at = 0; at < bytes.length;) {
      try {
        at += writeSync(descriptor, bytes, at);
      } catch (error) {
        // A pipe that is full for now: its reader will get on.
        if ((error as NodeJS.ErrnoException).code !== 'EAGAIN')
          throw this.failed('CAPTURE_WRITE_FAILED', 'that what was captured can be written', error);
      }
    }
    this.bytes += bytes.length;
  }

  close(): void {
    if (this.descriptor !== null && this.descriptor !== STANDARD_OUTPUT) closeSync(this.descriptor);
  }

  private open(): number {
    try {
      return openSync(this.path, 'w');
    } catch (error) {
      throw this.failed('CAPTURE_CANNOT_OPEN', 'a file that can be created', error);
    }
  }

  private failed(code: CaptureFileErrorCode, expected: string, cause: unknown): CaptureFileError {
    const errno = (cause as NodeJS.ErrnoException).code ?? String(cause);
    return new CaptureFileError(code, this.path, `expected ${expected}; seen ${errno}; name another file`, {
      cause,
    });
  }
}
