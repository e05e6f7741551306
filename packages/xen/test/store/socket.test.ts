// The store on a Unix socket: real clients with real bytes. What the server core does with them is tested
// elsewhere; here, that a socket carries it, and that a client's nonsense stays its own.
import { existsSync, mkdtempSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  MessageDecoder,
  MessageType,
  StoreServer,
  bytesToString,
  encodeMessage,
  stringToBytes,
} from '../../src/store/index.js';
import type { Message, MessageTypeName } from '../../src/store/index.js';
import { STORE_SOCKET_LIMITS, serveSocket } from '../../src/store/socket.js';
import type { StoreSocket } from '../../src/store/socket.js';
import { RawClient } from './raw-client.js';

vi.setConfig({ testTimeout: 60_000 });
const SOON = { timeout: 30_000, interval: 5 };

/** A client with a real socket. */
class Client {
  readonly received: Message[] = [];
  ended = false;
  readonly #decoder = new MessageDecoder();
  #requestId = 0;

  constructor(readonly socket: Socket) {
    socket.on('data', (bytes) => this.#decoder.push(bytes, (message) => this.received.push(message)));
    socket.on('error', () => undefined);
    socket.on('close', () => (this.ended = true));
  }

  bytes(type: number, text = ''): Uint8Array {
    const payload = stringToBytes(text.replaceAll('|', '\0'));
    return encodeMessage({ type, requestId: ++this.#requestId, transactionId: 0, payload });
  }

  async ask(type: MessageTypeName, text = ''): Promise<string> {
    this.socket.write(this.bytes(MessageType[type], text));
    return this.reply(this.#requestId);
  }

  async reply(requestId: number): Promise<string> {
    const found = await vi.waitFor(() => {
      const at = this.received.findIndex(
        (m) => m.requestId === requestId && m.type !== MessageType.WATCH_EVENT,
      );
      if (at < 0) throw new Error(`no reply to ${requestId}`);
      return this.received.splice(at, 1)[0]!;
    }, SOON);
    return bytesToString(found.payload).replaceAll('\0', '|');
  }

  get events(): string[] {
    return this.received
      .filter(({ type }) => type === MessageType.WATCH_EVENT)
      .map(({ payload }) => bytesToString(payload).replaceAll('\0', '|'));
  }
}

let folder: string;
let path: string;
let server: StoreServer;
let served: StoreSocket;
const sockets: Socket[] = [];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'na-store-'));
  path = join(folder, 'socket');
  server = new StoreServer();
  served = await serveSocket(server, path);
});
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
  served.close();
  server.close();
  rmSync(folder, { recursive: true, force: true });
});

async function client(): Promise<Client> {
  const socket = connect(path);
  sockets.push(socket);
  await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject));
  return new Client(socket);
}

describe('a store on a Unix socket', () => {
  it('is its owner’s alone, and goes with its server', () => {
    expect(statSync(path).mode & 0o777).toBe(0o600);
    served.close();
    served.close();
    expect(existsSync(path)).toBe(false);
  });

  it('answers domain 0, and tells its watches', async () => {
    const [tool, other] = [await client(), await client()];
    expect(await tool.ask('WATCH', '/a|mark|')).toBe('OK|');
    expect(await other.ask('WRITE', '/a/b|value')).toBe('OK|');
    expect(await tool.ask('READ', '/a/b|')).toBe('value');
    expect(tool.events).toEqual(['/a|mark|', '/a/b|mark|']);
    expect(await tool.ask('GET_PERMS', '/a/b|')).toBe('n0|');
    expect(server.describe().connections.map(({ domid }) => domid)).toEqual([0, 0]);
  });

  it('takes a message in pieces of a byte, and many in one piece', async () => {
    const tool = await client();
    tool.socket.setNoDelay(true);
    for (const byte of tool.bytes(MessageType.WRITE, '/slow|ly')) tool.socket.write(Uint8Array.of(byte));
    expect(await tool.reply(1)).toBe('OK|');
    const many = Array.from({ length: 100 }, () => tool.bytes(MessageType.READ, '/slow|'));
    tool.socket.write(Buffer.concat(many));
    for (let id = 2; id < 102; id++) expect(await tool.reply(id)).toBe('ly');
  });

  it.each([
    ['a path with a character that paths do not have', 'READ', '/a b|', 'EINVAL|'],
    ['a doubled slash', 'READ', '/a//b|', 'EINVAL|'],
    ['a slash at the end', 'WRITE', '/a/|x', 'EINVAL|'],
    ['no NUL at all', 'READ', '/a', 'EINVAL|'],
    ['nothing', 'READ', '', 'EINVAL|'],
    ['an absolute path over 3072 bytes', 'READ', `/${'a'.repeat(3072)}|`, 'EINVAL|'],
    ['a relative path over 2048 bytes', 'READ', `${'a'.repeat(2049)}|`, 'EINVAL|'],
    ['a path through the root', 'READ', '/../etc|', 'EINVAL|'],
    ['a negative depth', 'WATCH', '/a|t|-1|', 'EINVAL|'],
    ['an offset that is no number', 'DIRECTORY_PART', '/|-5|', 'EINVAL|'],
    ['permissions that are none', 'SET_PERMS', '/|z0|', 'EINVAL|'],
    ['a domain that cannot be', 'GET_DOMAIN_PATH', '99999|', 'EINVAL|'],
    ['a transaction that ends undecided', 'TRANSACTION_END', 'X|', 'EINVAL|'],
    ['a watch event from a client', 'WATCH_EVENT', '/a|t|', 'ENOSYS|'],
    ['the type that never is', 'INVALID', '', 'ENOSYS|'],
  ] as const)('answers %s with the protocol’s error, and goes on', async (_, type, text, answer) => {
    const tool = await client();
    expect(await tool.ask(type, text)).toBe(answer);
    expect(await tool.ask('READ', '/|')).toBe('');
    expect(server.describe().counters).toMatchObject({ connectionsCut: 0, internalErrors: 0 });
  });

  it('answers a type far out of range with ENOSYS', async () => {
    const tool = await client();
    tool.socket.write(tool.bytes(0xffff_fffe));
    expect(await tool.reply(1)).toBe('ENOSYS|');
  });

  // The length is unsigned on the wire: what is meant as negative is the largest there is (XSA-420).
  it.each([4097, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff])(
    'hangs up on a payload of %i bytes, after it has answered what came before; nobody else notices',
    async (length) => {
      const [liar, other] = [await client(), await client()];
      expect(await other.ask('WATCH', '/a|t|')).toBe('OK|');
      const header = encodeMessage({
        type: MessageType.READ,
        requestId: 9,
        transactionId: 0,
        payload: new Uint8Array(),
      });
      new DataView(header.buffer).setUint32(12, length, true);
      liar.socket.write(Buffer.concat([liar.bytes(MessageType.WRITE, '/a|1'), header]));
      expect(await liar.reply(1)).toBe('OK|');
      await vi.waitFor(() => expect(liar.ended).toBe(true), SOON);
      expect(await other.ask('READ', '/a|')).toBe('1');
      expect(server.describe().connections).toHaveLength(1);
      expect(server.describe().counters.connectionsCut).toBe(1);
      expect(server.check()).toEqual([]);
    },
  );

  it('XSA-425: forgets the watches and transactions of a client that goes in the middle of a message', async () => {
    const tool = await client();
    expect(await tool.ask('WATCH', '/a|t|')).toBe('OK|');
    expect(await tool.ask('TRANSACTION_START', '|')).toMatch(/^\d+\|$/);
    tool.socket.end(tool.bytes(MessageType.WRITE, '/half|way').subarray(0, 20));
    await vi.waitFor(() => expect(server.describe().connections).toEqual([]), SOON);
    expect(server.describe().counts[0]).toMatchObject({ watches: 0, transactions: 0 });
    expect(server.check()).toEqual([]);
  });

  it('holds back, then cuts off, a client that does not read; others go on', async () => {
    const [deaf, other] = [await client(), await client()];
    expect(await deaf.ask('WATCH', '/many|t|')).toBe('OK|');
    deaf.socket.pause();
    const guest = new RawClient(server, 0);
    const long = `/many/${'v'.repeat(2900)}`;
    for (let i = 0; server.describe().connections.length === 3; i++) {
      if (i > 10_000) throw new Error('the deaf client is still there');
      expect(guest.write(`${long}/${i}`, '')).toBe('OK|');
      expect(guest.ask('RM', `${long}/${i}|`)).toBe('OK|');
      if (i % 64 === 0) await new Promise(setImmediate); // a turn for the socket
    }
    expect(await other.ask('READ', '/many|')).toBe('');
    expect(other.ended).toBe(false);
  });

  it('has a limit of clients', async () => {
    const all = [];
    for (let i = 0; i < STORE_SOCKET_LIMITS.clients; i++) all.push(await client());
    const tooMany = await client();
    await vi.waitFor(() => expect(tooMany.ended).toBe(true), SOON);
    expect(await all[0]!.ask('READ', '/|')).toBe('');
  });
});

describe('a store socket is refused', () => {
  it('where a server answers', async () => {
    await expect(serveSocket(server, path)).rejects.toMatchObject({ code: 'BUSY' });
    expect(existsSync(path)).toBe(true);
  });

  it('where another kind of file is, which is left alone', async () => {
    const file = join(folder, 'file');
    writeFileSync(file, 'mine');
    await expect(serveSocket(server, file)).rejects.toMatchObject({ code: 'NOT_A_SOCKET' });
    expect(statSync(file).size).toBe(4);
  });

  it('for a path that a socket cannot have, and where there is no folder', async () => {
    await expect(serveSocket(server, join(folder, 'x'.repeat(108)))).rejects.toMatchObject({
      code: 'TOO_LONG',
    });
    await expect(serveSocket(server, join(folder, 'none', 's'))).rejects.toMatchObject({ code: 'REFUSED' });
  });

  it('not where one was left behind', async () => {
    const left = join(folder, 'left');
    const dead = createServer();
    await new Promise<void>((resolve) => dead.listen(`${left}.old`, resolve));
    renameSync(`${left}.old`, left); // closing removes the name that it had, not this one
    await new Promise((resolve) => dead.close(resolve));
    expect(statSync(left).isSocket()).toBe(true);
    const again = await serveSocket(server, left);
    expect(statSync(left).isSocket()).toBe(true);
    again.close();
  });
});
