/**
 * An ordinary TCP program, run inside a guest's namespace: it knows nothing of TAPs.
 *
 * `peer.js listen` accepts one connection, and prints how many bytes came, their SHA-256, and the seconds it
 * took. `peer.js send ADDRESS PORT MEBIBYTES` sends pseudo-random bytes and prints the same.
 */
import { createHash } from 'node:crypto';
import { connect, createServer } from 'node:net';
import type { AddressInfo } from 'node:net';

/** What each side prints, as JSON. The listener prints its port first. */
export interface PeerReport {
  readonly bytes: number;
  readonly sha256: string;
  readonly seconds: number;
}

const CHUNK_BYTES = 1 << 20;
const seconds = (since: bigint): number => Number(process.hrtime.bigint() - since) / 1e9;
const print = (value: unknown): unknown => process.stdout.write(`${JSON.stringify(value)}\n`);

function listen(): void {
  const server = createServer((socket) => {
    const hash = createHash('sha256');
    const start = process.hrtime.bigint();
    let bytes = 0;
    socket.on('data', (data) => {
      bytes += data.length;
      hash.update(data);
    });
    socket.on('end', () => {
      print({ bytes, sha256: hash.digest('hex'), seconds: seconds(start) } satisfies PeerReport);
      server.close();
    });
  });
  server.listen({ port: 0, host: '::' }, () => print((server.address() as AddressInfo).port));
}

async function send(host: string, port: number, mebibytes: number): Promise<void> {
  const socket = connect({ host, port });
  const hash = createHash('sha256');
  const start = process.hrtime.bigint();
  const chunk = Buffer.alloc(CHUNK_BYTES);
  let state = 1;
  for (let sent = 0; sent < mebibytes; sent++) {
    // xorshift32: no two chunks alike, the same in every run.
    const fresh = Buffer.from(chunk);
    for (let at = 0; at < CHUNK_BYTES; at += 4) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      fresh.writeInt32LE(state | 0, at);
    }
    hash.update(fresh);
    if (!socket.write(fresh)) await new Promise((resolve) => socket.once('drain', resolve));
  }
  await new Promise<void>((resolve) => socket.end(resolve));
  print({
    bytes: mebibytes * CHUNK_BYTES,
    sha256: hash.digest('hex'),
    seconds: seconds(start),
  } satisfies PeerReport);
}

const [role, host = '', port = '', mebibytes = ''] = process.argv.slice(2);
if (role === 'listen') listen();
else await send(host, Number(port), Number(mebibytes));
