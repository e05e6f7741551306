/**
 * One end of a TCP transfer: an ordinary process that knows nothing of the lab it runs in.
 *
 *     node tcp-peer.js receive PORT
 *     node tcp-peer.js send ADDRESS PORT SECONDS [CONNECTIONS]
 *
 * The sender writes a known pattern, the receiver compares every byte with it. SIGTERM ends the sender early, with
 * all that it wrote. Both print one JSON object a
 * line: `{"event":"listening"}`, `{"event":"progress",...}` each 100 ms, `{"event":"end",...}` last.
 */
import { createServer, connect } from 'node:net';
import type { Socket } from 'node:net';
import { argv, exit, hrtime, stdout } from 'node:process';

/** Length of the pattern: a prime, so that no power-of-two shift of the stream looks right. */
const PATTERN_BYTES = 1_048_573;
const WRITE_BYTES = 256 * 1024;
const READ_BYTES = 256 * 1024;
const PROGRESS_MS = 100;

/** The pattern twice over, so that any run of up to its length is one slice. */
function pattern(): Buffer {
  const twice = Buffer.alloc(2 * PATTERN_BYTES);
  let x = 0x2545f491;
  for (let i = 0; i < PATTERN_BYTES; i++) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    twice[i] = x;
  }
  twice.copy(twice, PATTERN_BYTES, 0, PATTERN_BYTES);
  return twice;
}

function say(event: string, fields: Record<string, unknown>): void {
  stdout.write(`${JSON.stringify({ event, ...fields })}\n`);
}

function receive(port: number): void {
  const expected = pattern();
  let bytes = 0;
  let corrupted = 0;
  let open = 0;
  let started = 0n;
  const server = createServer({ noDelay: true, highWaterMark: READ_BYTES });
  server.on('connection', (socket: Socket) => {
    if (started === 0n) started = hrtime.bigint();
    open++;
    let offset = 0;
    socket.on('data', (chunk: Buffer) => {
      const at = offset % PATTERN_BYTES;
      if (chunk.compare(expected, at, at + chunk.length) !== 0) corrupted++;
      offset += chunk.length;
      bytes += chunk.length;
    });
    socket.on('error', (error) => {
      say('error', { message: error.message });
    });
    socket.on('close', () => {
      if (--open === 0) {
        const seconds = Number(hrtime.bigint() - started) / 1e9;
        say('end', { bytes, seconds, corrupted });
        exit(0);
      }
    });
  });
  server.listen(port, () => {
    say('listening', {});
  });
  setInterval(() => {
    say('progress', { bytes, corrupted });
  }, PROGRESS_MS).unref();
}

function send(address: string, port: number, seconds: number, connections: number): void {
  const source = pattern();
  let until = hrtime.bigint() + BigInt(Math.round(seconds * 1e9));
  process.once('SIGTERM', () => {
    until = 0n;
  });
  let open = connections;
  let bytes = 0;
  for (let i = 0; i < connections; i++) {
    const socket = connect({ host: address, port, noDelay: true });
    let offset = 0;
    const fill = (): void => {
      while (hrtime.bigint() < until) {
        const at = offset % PATTERN_BYTES;
        offset += WRITE_BYTES;
        bytes += WRITE_BYTES;
        if (!socket.write(source.subarray(at, at + WRITE_BYTES))) return;
      }
      socket.end();
    };
    socket.on('connect', fill);
    socket.on('drain', fill);
    socket.on('error', (error) => {
      say('error', { message: error.message });
      exit(1);
    });
    socket.on('close', () => {
      if (--open === 0) {
        say('end', { bytes });
        exit(0);
      }
    });
    socket.resume();
  }
}

const [, , role, first, second, third, fourth] = argv;
if (role === 'receive' && first !== undefined) receive(Number(first));
else if (role === 'send' && first !== undefined && second !== undefined && third !== undefined)
  send(first, Number(second), Number(third), Number(fourth ?? 1));
else {
  process.stderr.write('usage: tcp-peer receive PORT | tcp-peer send ADDRESS PORT SECONDS [CONNECTIONS]\n');
  exit(2);
}
