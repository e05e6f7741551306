// A TCP connection between dom0 and a guest that carries checked bytes both ways for as long as a test wants: the guest
// repeats a line, whose every byte is compared here, and hashes what it gets.
import { createHash } from 'node:crypto';
import { createServer } from 'node:net';
import { DOM0, expect, until } from './dom0.mjs';

const PORT = 5004;
const LINE = 'netaccel\n';
/** Bytes each way that show that it moves. */
const STEP = 16 * 1024;
const pattern = Buffer.alloc(1024 * 1024, LINE);

export class Stream {
  received = 0;
  sent = 0;
  #hash = createHash('sha256');
  #block = Buffer.alloc(STEP);
  #wrongAt = null;
  #socket = null;
  #ending = false;
  #server = createServer((socket) => this.#serve(socket)).listen(PORT);

  /** Begins, in `guest`. */
  constructor(guest) {
    this.transfer = guest.start(`yes ${LINE.trim()} | nc ${DOM0} ${PORT} | sha256sum`, 900);
    // Seen by `end`.
    this.transfer.catch(() => undefined);
  }

  /** Waits until bytes have moved, both ways, from now on. */
  async moves() {
    const { received, sent } = this;
    await until('bytes both ways', () => this.received >= received + STEP && this.sent >= sent + 4 * STEP);
  }

  /** Ends it, and judges every byte; answers what went through. */
  async end() {
    this.#ending = true;
    this.#socket.end();
    const { text } = await this.transfer;
    this.#server.close();
    expect('the first wrong byte from the guest', this.#wrongAt, null);
    expect('the hash of what the guest got', /[0-9a-f]{64}/.exec(text)?.[0], this.#hash.digest('hex'));
    const megabytes = (bytes) => (bytes / 2 ** 20).toFixed(1);
    return `${megabytes(this.received)} MiB from the guest, ${megabytes(this.sent)} MiB to it, every byte right`;
  }

  #serve(socket) {
    this.#socket = socket;
    const pump = () => {
      while (!this.#ending) {
        this.#block.writeUInt32LE(this.sent / STEP, 0);
        // A copy: the socket may keep it.
        const block = Buffer.from(this.#block);
        this.#hash.update(block);
        this.sent += STEP;
        if (!socket.write(block)) return;
      }
    };
    socket.on('drain', pump).on('error', () => undefined);
    socket.on('data', (data) => {
      const phase = this.received % LINE.length;
      if (this.#wrongAt === null && !data.equals(pattern.subarray(phase, phase + data.length)))
        this.#wrongAt = this.received;
      this.received += data.length;
    });
    pump();
  }
}
