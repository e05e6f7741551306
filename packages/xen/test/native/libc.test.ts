import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { Arena } from '../../src/native/arena.js';
import { errnoName } from '../../src/native/error.js';
import { loadNativeLibc } from '../../src/native/index.js';
import type { NativeLibc } from '../../src/native/index.js';
import { ARENA } from './parts.js';

const TIMEOUT = 60_000;
const READ_WRITE = 2;
const NON_BLOCKING = 0o4000;
const ANONYMOUS = 0x22;

let libc: NativeLibc | undefined;
let why = '';
try {
  libc = await loadNativeLibc();
} catch (error) {
  why = (error as Error).message;
}

describe.skipIf(libc === undefined)(`the C library of this process ${why}`, () => {
  it('maps a device over the arena, where every view and kernel sees it, and fresh pages over that', () => {
    const arena = new Arena(libc!, ARENA);
    const { memory } = arena;
    const zero = libc!.open('/dev/zero', READ_WRITE);
    const at = arena.take(2);
    memory.bytes[at] = 1;
    expect(arena.lay(at, 2, zero, 0, true)).toBeNull();
    expect(memory.bytes[at]).toBe(0);
    memory.words[(at >>> 2) + 1] = 0x01020304;
    memory.copy(at + 4096, at, 64);
    expect(memory.words[((at + 4096) >>> 2) + 1]).toBe(0x01020304);
    expect(memory.sum(at, 8, 0)).toBe(0x0403 + 0x0201);
    arena.give(at, 2);
    expect(memory.words[((at + 4096) >>> 2) + 1]).toBe(0);
    libc!.close(zero);
  });

  it('fills the hole that a failed mapping leaves', () => {
    const arena = new Arena(libc!, ARENA);
    const before = arena.freePages;
    const directory = libc!.open('/', 0);
    const at = arena.take(4);
    expect(arena.lay(at, 4, directory, 0, true)).toMatch(/^E/);
    expect(arena.memory.bytes[at]).toBe(0);
    expect(arena.freePages + arena.lostPages).toBe(before);
    libc!.close(directory);
  });

  it('says why a call failed', () => {
    expect(libc!.open('/nowhere', READ_WRITE)).toBe(-1);
    expect(errnoName(libc!.errno())).toBe('ENOENT');
    expect(libc!.mmap(0, 0, 0, ANONYMOUS, -1, 0)).toBe(-1);
    expect(errnoName(libc!.errno())).toBe('EINVAL');
  });

  it(
    'polls a descriptor until told to stop, and lets a process exit at any moment',
    () => {
      const module = fileURLToPath(new URL('../../dist/native/index.js', import.meta.url));
      const script = `
        import { mkdtempSync, writeFileSync } from 'node:fs';
        import { spawnSync } from 'node:child_process';
        import { loadNativeLibc } from ${JSON.stringify(module)};
        const libc = await loadNativeLibc();
        const path = mkdtempSync('/tmp/poll-') + '/fifo';
        spawnSync('mkfifo', [path]);
        const fifo = libc.open(path, ${READ_WRITE | NON_BLOCKING});
        const bytes = new Uint8Array(8);
        let seen = 0;
        const poll = libc.poll(fifo, () => {
          libc.read(fifo, libc.addressOf(bytes), 8);
          seen++;
          poll.stop();
          setImmediate(() => {
            process.stdout.write('seen ' + seen);
            poll.start();
            setImmediate(() => process.exit(3));
          });
        });
        poll.start();
        writeFileSync(path, 'x');
      `;
      const ran = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
      expect(ran.stderr).toBe('');
      expect(ran.stdout).toBe('seen 1');
      expect(ran.status).toBe(3);
    },
    TIMEOUT,
  );
});
