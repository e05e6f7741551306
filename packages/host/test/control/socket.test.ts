/** The control socket: questions, streams, refusals, and what a killed lab leaves. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync, chmodSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ChunkDecoder, ChunkKind, encodeChunk } from '../../src/control/chunks.js';
import { CONTROL_DIRECTORY_VARIABLE, controlDirectory, socketPath } from '../../src/control/directory.js';
import { callLab, ControlError, openStream, runningLabs, serveControl } from '../../src/control/socket.js';
import type { StreamOut } from '../../src/control/socket.js';

let folder: string;
let closers: (() => void)[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'na-'));
  vi.stubEnv(CONTROL_DIRECTORY_VARIABLE, join(folder, 'control'));
});
afterEach(() => {
  for (const close of closers.splice(0)) close();
  closers = [];
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true, force: true });
});

async function serve(...args: Parameters<typeof serveControl>): Promise<() => void> {
  const close = await serveControl(...args);
  closers.push(close);
  return close;
}

const echo = {
  echo: (args: unknown) => Promise.resolve(args),
  fail: () => Promise.reject(Object.assign(new Error('no'), { code: 'NO' })),
};

describe('a question', () => {
  it('is answered by the only lab that runs', async () => {
    await serve('one', echo);
    expect(await callLab(undefined, 'echo', { x: 1 })).toEqual({ x: 1 });
    expect(await runningLabs()).toEqual(['one']);
  });

  it('must say which, when several run', async () => {
    await serve('one', echo);
    await serve('two', { echo: () => Promise.resolve('two') });
    await expect(callLab(undefined, 'echo')).rejects.toThrow(
      'several labs run (one, two); say which with --lab NAME',
    );
    expect(await callLab('two', 'echo')).toBe('two');
  });

  it('to a lab that does not run says which do', async () => {
    await serve('one', echo);
    await expect(callLab('two', 'echo')).rejects.toThrow('no lab named two runs; running: one');
  });

  it("brings the lab's own error, with its code", async () => {
    await serve('one', echo);
    const refused = await callLab('one', 'fail').catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(ControlError);
    expect(refused).toMatchObject({ code: 'REFUSED', reason: 'NO', message: 'no' });
  });

  it('that the lab does not know is told what it knows', async () => {
    await serve('one', echo);
    for (const method of ['constructor', 'ehco'])
      await expect(callLab('one', method)).rejects.toThrow(
        /^expected one of echo, fail, saw .*another version/,
      );
  });

  it('of a lab that goes away ends', async () => {
    const close = await serve('one', { wait: () => new Promise(() => undefined) });
    const asked = callLab('one', 'wait');
    const seen = expect(asked).rejects.toMatchObject({ code: 'LOST' });
    await vi.waitFor(async () => expect(await runningLabs()).toEqual(['one']));
    close();
    await seen;
    expect(await runningLabs()).toEqual([]);
  });

  it('that is no JSON, or without end, does no harm', async () => {
    await serve('one', echo);
    const socket = connect(socketPath('one'));
    const answer = new Promise<string>((resolve) => socket.once('data', (data) => resolve(data.toString())));
    socket.write('nonsense\n');
    expect(await answer).toContain('error');
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.on('error', () => undefined);
    socket.write('x'.repeat(100_000));
    await closed;
    expect(await callLab('one', 'echo', { still: 'here' })).toEqual({ still: 'here' });
  });
});

describe('a stream', () => {
  it('brings bytes, notes and a result, in order', async () => {
    await serve(
      'one',
      {},
      {
        count: (args, out) => {
          for (let i = 0; i < Number(args['n']); i++) {
            out.write(new Uint8Array(1000).fill(i));
            out.note({ i });
          }
          return Promise.resolve('done');
        },
      },
    );
    const bytes: number[] = [];
    const notes: unknown[] = [];
    const stream = await openStream('one', 'count', { n: 300 });
    const result = await stream.read(
      (piece) => bytes.push(piece[0]!, piece.length),
      (note) => notes.push(note),
    );
    expect(result).toBe('done');
    expect(bytes).toHaveLength(600);
    expect(bytes.slice(-2)).toEqual([299 & 0xff, 1000]);
    expect(notes).toHaveLength(300);
  });

  it('ends when the client has enough, with what is under way', async () => {
    await serve(
      'one',
      {},
      {
        run: (_, out: StreamOut) =>
          new Promise((resolve) => {
            out.note('on');
            out.stopped.addEventListener('abort', () => {
              out.write(Buffer.from('last'));
              resolve('enough');
            });
          }),
      },
    );
    const stream = await openStream('one', 'run');
    let last = '';
    const result = await stream.read(
      (bytes) => (last = bytes.toString()),
      () => {
        stream.stop();
      },
    );
    expect({ result, last }).toEqual({ result: 'enough', last: 'last' });
  });

  it('tells the lab when its client is gone', async () => {
    let stopped: AbortSignal | undefined;
    await serve(
      'one',
      {},
      {
        run: (_, out) => {
          stopped = out.stopped;
          return new Promise(() => undefined);
        },
      },
    );
    const stream = await openStream('one', 'run');
    await vi.waitFor(() => expect(stopped).toBeDefined());
    stream.destroy();
    await vi.waitFor(() => expect(stopped?.aborted).toBe(true));
  });

  it('that is refused says why', async () => {
    await serve('one', {}, { run: () => Promise.reject(new Error('no such thing')) });
    const stream = await openStream('one', 'run');
    await expect(
      stream.read(
        () => undefined,
        () => undefined,
      ),
    ).rejects.toMatchObject({ code: 'REFUSED', message: 'no such thing' });
  });

  it('is put together from pieces of any size', () => {
    const whole = Buffer.concat([
      encodeChunk(ChunkKind.bytes, Buffer.from('abc')),
      encodeChunk(ChunkKind.note, Buffer.from('{}')),
    ]);
    const decoder = new ChunkDecoder();
    const seen = [...whole].flatMap((byte) =>
      [...decoder.push(Buffer.of(byte))].map(({ kind, bytes }) => `${kind}:${bytes.toString()}`),
    );
    expect(seen).toEqual(['0:abc', '1:{}']);
    expect(() => [...decoder.push(Buffer.alloc(9, 0xff))]).toThrow(/chunk: at most/);
  });
});

describe('the directory of sockets', () => {
  it('is made for its owner alone', () => {
    expect(controlDirectory()).toBe(join(folder, 'control'));
    expect(readdirSync(folder)).toEqual(['control']);
  });

  it('is refused when others may enter it', () => {
    mkdirSync(join(folder, 'control'));
    chmodSync(join(folder, 'control'), 0o755);
    expect(() => controlDirectory()).toThrow(/must be yours alone \(mode 700\)/);
  });

  it('refuses a name too long for a socket', () => {
    expect(() => socketPath('x'.repeat(120))).toThrow(/expected at most 107 bytes/);
  });

  it('is cleared of what a killed lab left, and keeps one lab of a name', async () => {
    writeFileSync(join(controlDirectory(), 'one.sock'), '');
    expect(await runningLabs()).toEqual([]);
    const close = await serve('one', echo);
    await expect(serveControl('one', echo)).rejects.toMatchObject({ code: 'BUSY' });
    close();
    await vi.waitFor(() => expect(readdirSync(controlDirectory())).toEqual([]));
  });
});
