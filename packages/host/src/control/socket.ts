/**
 * How commands reach a running lab: a Unix socket.
 *
 * `netaccel up` serves it; `ls`, `explain`, `accel` and `capture` are its clients. A request is one JSON object on
 * a line; a method answers with one such line, a stream with chunks (chunks.ts) until it is over. What a client
 * sends is judged before use: a line is bounded, a method is one of those that the lab offers.
 */
import { rmSync } from 'node:fs';
import { createServer } from 'node:net';
import type { Socket } from 'node:net';
import { ChunkKind, encodeChunk, encodeJson } from './chunks.js';
import { labAnswers } from './client.js';
import { socketPath } from './directory.js';
import { ControlError } from './error.js';

export { callLab, openStream, runningLabs } from './client.js';
export type { LabStream } from './client.js';
export { ControlError } from './error.js';

const MAX_LINE_BYTES = 64 * 1024;

/** Arguments of a request: plain data of somebody else. */
export type Arguments = Readonly<Record<string, unknown>>;

/** Methods that a lab offers; arguments and results are plain data. */
export type Methods = Readonly<Record<string, (args: Arguments) => Promise<unknown>>>;

/** The lab's end of a stream. */
export interface StreamOut {
  /** Sends bytes; they are copied. */
  write(bytes: Uint8Array): void;
  /** Says how it goes. */
  note(value: unknown): void;
  /** Bytes that the client has not taken yet. */
  readonly waitingBytes: number;
  /** Aborted when the client wants no more of it, or is gone. */
  readonly stopped: AbortSignal;
}

/** Streams that a lab offers; each resolves, when it is over, to its result. */
export type Streams = Readonly<Record<string, (args: Arguments, out: StreamOut) => Promise<unknown>>>;

/** Refuses a name that a running lab has. @throws ControlError `BUSY`. */
export async function refuseSecond(lab: string): Promise<void> {
  if (await labAnswers(lab))
    throw new ControlError(
      'BUSY',
      `a lab named ${lab} runs already; stop it, or give this one another name with --name`,
    );
}

/**
 * Serves a lab's methods and streams until the function returned is called.
 * @throws ControlError `BUSY`, `REFUSED`.
 */
export async function serveControl(
  lab: string,
  methods: Methods,
  streams: Streams = {},
): Promise<() => void> {
  const path = socketPath(lab);
  await refuseSecond(lab);
  rmSync(path, { force: true }); // left by a lab that was killed
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    new Session(socket, methods, streams);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  });
  const removeSocket = (): void => {
    rmSync(path, { force: true });
  };
  process.once('exit', removeSocket); // also when the end was not orderly
  return () => {
    process.off('exit', removeSocket);
    server.close();
    for (const socket of sockets) socket.destroy();
  };
}

/** One client. */
class Session {
  private pending = '';
  private turn = Promise.resolve();
  private stream: AbortController | null = null;

  constructor(
    private readonly socket: Socket,
    private readonly methods: Methods,
    private readonly streams: Streams,
  ) {
    socket.setEncoding('utf8');
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.stream?.abort());
    socket.on('data', (text: string) => {
      this.take(text);
    });
  }

  private take(text: string): void {
    // A client that has its stream says one thing only: enough.
    if (this.stream !== null) {
      this.stream.abort();
      return;
    }
    this.pending += text;
    for (let end = this.pending.indexOf('\n'); end >= 0; end = this.pending.indexOf('\n')) {
      const line = this.pending.slice(0, end);
      this.pending = this.pending.slice(end + 1);
      this.turn = this.turn.then(() => this.answer(line));
    }
    if (this.pending.length > MAX_LINE_BYTES) this.socket.destroy();
  }

  private async answer(line: string): Promise<void> {
    try {
      const request = JSON.parse(line) as { method?: unknown; args?: unknown } | null;
      const name = typeof request?.method === 'string' ? request.method : '';
      const args =
        typeof request?.args === 'object' && request.args !== null ? (request.args as Arguments) : {};
      if (Object.hasOwn(this.streams, name)) {
        await this.run(this.streams[name]!, args);
        return;
      }
      if (!Object.hasOwn(this.methods, name)) {
        const known = [...Object.keys(this.methods), ...Object.keys(this.streams)].join(', ');
        throw new Error(
          `expected one of ${known}, saw ${line.slice(0, 80)}; is the lab of another version than this command?`,
        );
      }
      this.say({ result: (await this.methods[name]!(args)) ?? null });
    } catch (error) {
      this.say({ error: errorData(error) });
    }
  }

  private async run(stream: Streams[string], args: Arguments): Promise<void> {
    const { socket } = this;
    const stop = (this.stream = new AbortController());
    const send = (chunk: Buffer): void => {
      if (!socket.destroyed) socket.write(chunk);
    };
    const out: StreamOut = {
      write: (bytes) => {
        send(encodeChunk(ChunkKind.bytes, bytes));
      },
      note: (value) => {
        send(encodeJson(ChunkKind.note, value));
      },
      get waitingBytes() {
        return socket.writableLength;
      },
      stopped: stop.signal,
    };
    try {
      send(encodeJson(ChunkKind.result, await stream(args, out)));
    } catch (error) {
      send(encodeJson(ChunkKind.error, errorData(error)));
    }
    socket.end();
  }

  private say(answer: object): void {
    if (!this.socket.destroyed) this.socket.write(`${JSON.stringify(answer)}\n`);
  }
}

function errorData(error: unknown): { message: string; code?: string } {
  if (!(error instanceof Error)) return { message: String(error) };
  return { message: error.message, ...('code' in error ? { code: String(error.code) } : {}) };
}
