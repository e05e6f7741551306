/** The commands' side of a lab's socket: one question and its answer, or a stream. */
import { once } from 'node:events';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { ChunkDecoder, ChunkKind } from './chunks.js';
import { labsWithSocket, socketPath } from './directory.js';
import { ControlError } from './error.js';

/** Names of the labs that run and answer. */
export async function runningLabs(): Promise<string[]> {
  const labs = labsWithSocket();
  const live = await Promise.all(labs.map(labAnswers));
  return labs.filter((_, i) => live[i]);
}

/** Whether a lab of that name runs. */
export function labAnswers(lab: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(socketPath(lab));
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => {
      resolve(false);
    });
  });
}

/**
 * Asks a running lab.
 * @param lab its name; the only one that runs when left out.
 * @throws ControlError
 */
export async function callLab(
  lab: string | undefined,
  method: string,
  args: Readonly<Record<string, unknown>> = {},
): Promise<unknown> {
  const name = lab ?? (await onlyLab());
  const socket = await reach(name);
  try {
    socket.write(`${JSON.stringify({ method, args })}\n`);
    for await (const line of createInterface({ input: socket })) {
      const answer = JSON.parse(line) as { result?: unknown; error?: RefusalData };
      if (answer.error !== undefined) throw refusal(answer.error);
      return answer.result;
    }
    throw lost(name);
  } catch (error) {
    throw isCutOff(error) ? lost(name) : error;
  } finally {
    socket.destroy();
  }
}

/** A stream from a running lab. */
export interface LabStream {
  /** The lab's name. */
  readonly lab: string;
  /** Asks the lab to end it: what is under way still comes. Idempotent. */
  stop(): void;
  /** Cuts it off. */
  destroy(): void;
  /**
   * Reads it to its end.
   * @param onBytes told each piece, in order.
   * @param onNote told what the lab says meanwhile.
   * @returns the stream's result.
   * @throws ControlError
   */
  read(onBytes: (bytes: Buffer) => void, onNote: (note: unknown) => void): Promise<unknown>;
}

/**
 * Opens a stream of a running lab.
 * @param lab its name; the only one that runs when left out.
 * @throws ControlError
 */
export async function openStream(
  lab: string | undefined,
  method: string,
  args: Readonly<Record<string, unknown>> = {},
): Promise<LabStream> {
  const name = lab ?? (await onlyLab());
  const socket = await reach(name);
  let stopped = false;
  socket.write(`${JSON.stringify({ method, args })}\n`);
  return {
    lab: name,
    stop: () => {
      if (!stopped) socket.write('stop\n');
      stopped = true;
    },
    destroy: () => socket.destroy(),
    read: async (onBytes, onNote) => {
      const decoder = new ChunkDecoder();
      try {
        for await (const bytes of socket as AsyncIterable<Buffer>)
          for (const chunk of decoder.push(bytes)) {
            if (chunk.kind === ChunkKind.bytes) {
              onBytes(chunk.bytes);
              continue;
            }
            const value: unknown = JSON.parse(chunk.bytes.toString('utf8'));
            if (chunk.kind === ChunkKind.result) return value;
            if (chunk.kind === ChunkKind.error) throw refusal(value as RefusalData);
            onNote(value);
          }
        throw lost(name);
      } catch (error) {
        throw isCutOff(error) ? lost(name) : error;
      } finally {
        socket.destroy();
      }
    },
  };
}

/** Whether the other end was gone before it had said all. */
function isCutOff(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ECONNRESET' || code === 'EPIPE';
}

interface RefusalData {
  readonly message: string;
  readonly code?: string;
}

function refusal({ message, code }: RefusalData): ControlError {
  return new ControlError('REFUSED', message, code);
}

function lost(name: string): ControlError {
  return new ControlError(
    'LOST',
    `the lab ${name} closed the connection before it had answered; is it still running?`,
  );
}

async function reach(name: string): Promise<Socket> {
  const socket = connect(socketPath(name));
  try {
    await once(socket, 'connect');
  } catch {
    const live = await runningLabs();
    const others = live.length === 0 ? 'start one with "netaccel up FILE"' : `running: ${live.join(', ')}`;
    throw new ControlError('NO_LAB', `no lab named ${name} runs; ${others}`);
  }
  socket.on('error', () => socket.destroy()); // the end of the stream says it
  return socket;
}

async function onlyLab(): Promise<string> {
  const live = await runningLabs();
  if (live.length === 1) return live[0]!;
  if (live.length === 0) throw new ControlError('NO_LAB', 'no lab runs; start one with "netaccel up FILE"');
  throw new ControlError('SEVERAL', `several labs run (${live.join(', ')}); say which with --lab NAME`);
}
