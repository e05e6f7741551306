// The client by itself, with a wire whose other end is the test.
import { beforeEach, describe, expect, it } from 'vitest';
import {
  decodeMessage,
  encodeMessage,
  joinStrings,
  MessageType,
  splitStrings,
  StoreClient,
  type Message,
  type StoreTransport,
} from '../../src/store/index.js';
import { codeOf } from './code-of.js';

/** A transport whose other end is the test. */
class Wire implements StoreTransport {
  readonly sent: Message[] = [];
  closed = false;
  deliver: (message: Uint8Array) => void = () => undefined;
  end: (reason: string) => void = () => undefined;

  send(message: Uint8Array): void {
    this.sent.push(decodeMessage(message)!);
  }
  onMessage(handler: (message: Uint8Array) => void): void {
    this.deliver = handler;
  }
  onClosed(handler: (reason: string) => void): void {
    this.end = handler;
  }
  close(): void {
    this.closed = true;
  }

  reply(to: number, payload: Uint8Array, type = this.sent[to]!.type): void {
    const { requestId, transactionId } = this.sent[to]!;
    this.deliver(encodeMessage({ type, requestId, transactionId, payload }));
  }
  event(path: string, token: string): void {
    const payload = joinStrings([path, token]);
    this.deliver(encodeMessage({ type: MessageType.WATCH_EVENT, requestId: 0, transactionId: 0, payload }));
  }
}

/** Lets everything run that waits for something that has happened. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

describe('a client', () => {
  let wire: Wire;
  let client: StoreClient;

  beforeEach(() => {
    wire = new Wire();
    client = new StoreClient(wire, { firstRequestId: 0xffff_fffe });
  });

  it('matches replies that come in any order, and numbers past the end of 32 bits', async () => {
    const reads = ['/a', '/b', '/c'].map((path) => client.read(path));
    expect(wire.sent.map(({ requestId }) => requestId)).toEqual([0xffff_fffe, 0xffff_ffff, 1]);
    wire.reply(2, new Uint8Array([99]));
    wire.reply(0, new Uint8Array([97]));
    wire.reply(1, new Uint8Array([98]));
    expect(await Promise.all(reads)).toEqual(['a', 'b', 'c']);
    expect(client.describe()).toEqual({ pending: 0, watches: 0, closed: false, strayMessages: 0 });
  });

  it('keeps the order of arrival between who awaits a reply and who handles an event', async () => {
    const order: string[] = [];
    const watching = client.watch('/w', (path) => order.push(`event ${path}`));
    wire.reply(0, joinStrings(['OK']));
    await watching;
    const [token] = splitStrings(wire.sent[0]!.payload).strings.slice(1);
    const waits = [
      (async () => {
        await client.read('/a');
        order.push('read');
      })(),
      (async () => {
        if ((await client.readOptional('/b')) === null) order.push('none');
      })(),
      (async () => {
        const wrapped = async (): Promise<string[]> => client.list('/c');
        await wrapped();
        order.push('list');
      })(),
    ];
    wire.event('/w/1', token!);
    wire.reply(1, new Uint8Array(0));
    wire.event('/w/2', token!);
    wire.reply(3, new Uint8Array(0));
    wire.event('/w/3', token!);
    wire.event('/w/4', token!);
    wire.reply(2, joinStrings(['ENOENT']), MessageType.ERROR);
    wire.event('/w/5', token!);
    await Promise.all(waits);
    await turn();
    expect(order).toEqual([
      'event /w/1',
      'read',
      'event /w/2',
      'list',
      'event /w/3',
      'event /w/4',
      'none',
      'event /w/5',
    ]);
  });

  it('gives the watch to its caller before the first event is handled', async () => {
    const order: string[] = [];
    const setting = (async () => {
      const watch = await client.watch('/w', () => order.push('event'), { depth: 1 });
      order.push(`set ${watch.path}`);
    })();
    wire.reply(0, joinStrings(['OK']));
    wire.event('/w', splitStrings(wire.sent[0]!.payload).strings[1]!);
    await setting;
    await turn();
    expect(order).toEqual(['set /w', 'event']);
  });

  it('never calls a handler within another', async () => {
    let depth = 0;
    let deepest = 0;
    let token = '';
    let left = 3;
    const watching = client.watch('/w', () => {
      deepest = Math.max(deepest, ++depth);
      if (left-- > 0) wire.event('/w', token);
      depth--;
    });
    token = splitStrings(wire.sent[0]!.payload).strings[1]!;
    wire.reply(0, joinStrings(['OK']));
    await watching;
    wire.event('/w', token);
    await turn();
    expect([deepest, left]).toEqual([1, -1]);
  });

  it('reports a handler that throws, and goes on', async () => {
    const errors: unknown[] = [];
    const other = new Wire();
    const careful = new StoreClient(other, { onHandlerError: (error) => errors.push(error) });
    const watching = careful.watch('/w', () => {
      throw new Error('mine');
    });
    other.reply(0, joinStrings(['OK']));
    await watching;
    other.event('/w', '1');
    other.event('/w', '1');
    await turn();
    expect(errors).toEqual([new Error('mine'), new Error('mine')]);
  });

  it('counts replies and events that nobody waits for', async () => {
    const read = client.read('/a');
    wire.reply(0, new Uint8Array(0));
    await read;
    wire.reply(0, new Uint8Array(0));
    wire.event('/w', 'unknown');
    const lone = {
      type: MessageType.WATCH_EVENT,
      requestId: 0,
      transactionId: 0,
      payload: joinStrings(['/w']),
    };
    wire.deliver(encodeMessage(lone));
    await turn();
    expect(client.describe().strayMessages).toBe(2);
  });

  it.each<[string, (at: Wire) => void, string]>([
    ['an error', (at) => at.reply(0, joinStrings(['EACCES']), MessageType.ERROR), 'EACCES'],
    ['an error without a name', (at) => at.reply(0, new Uint8Array(0), MessageType.ERROR), 'EPROTO'],
    ['an error of another name', (at) => at.reply(0, joinStrings(['EWEIRD']), MessageType.ERROR), 'EPROTO'],
    ['the reply of another request', (at) => at.reply(0, new Uint8Array(0), MessageType.WRITE), 'EPROTO'],
    ['the end of the connection', (at) => at.end('the store was shut down'), 'ECLOSED'],
    ['what is no message', (at) => at.deliver(new Uint8Array(7)), 'EPROTO'],
    ['a message with bytes to spare', (at) => at.deliver(new Uint8Array(17)), 'EPROTO'],
  ])('rejects on %s', async (_, act, code) => {
    const asked = client.read('/local/domain/5/name');
    act(wire);
    await expect(asked).rejects.toThrow(/READ "\/local\/domain\/5\/name".*; /);
    expect(await codeOf(asked)).toBe(code);
    expect(client.describe().pending).toBe(0);
  });

  it('says what was asked, what came back and what to do', async () => {
    const asked = client.write('/forbidden', 'v');
    wire.reply(0, joinStrings(['EACCES']), MessageType.ERROR);
    await expect(asked).rejects.toThrow(
      'store: WRITE "/forbidden": the answer was EACCES; ' +
        'ask the owner of the node or domain 0 to grant the right with setPermissions',
    );
  });

  it('refuses to send what would break the protocol', async () => {
    expect(await codeOf(client.write('/a\0b', 'v'))).toBe('EINVAL');
    expect(await codeOf(client.write('/a', '\u2615'))).toBe('EINVAL');
    expect(await codeOf(client.write('/a', 'x'.repeat(4095)))).toBe('E2BIG');
    expect(wire.sent).toEqual([]);
    expect(client.describe().pending).toBe(0);
  });

  it('begins a list in parts again when the directory changed, and gives up in the end', async () => {
    const listing = client.list('/d');
    wire.reply(0, joinStrings(['E2BIG']), MessageType.ERROR);
    const parts = [
      ['1', 'old', 'gone'],
      ['2', 'z', ''],
      ['2', 'a', 'bc'],
      ['2', 'd', ''],
    ];
    const offsets: string[] = [];
    for (const [at, part] of parts.entries()) {
      await turn();
      offsets.push(splitStrings(wire.sent[at + 1]!.payload).strings[1]!);
      wire.reply(at + 1, joinStrings(part));
    }
    expect(await listing).toEqual(['a', 'bc', 'd']);
    expect(offsets).toEqual(['0', '9', '0', '5']);

    const restless = codeOf(client.list('/d'));
    for (let at = 5; at < 5 + 1 + 2 * 16; at++) {
      if (at === 5) wire.reply(at, joinStrings(['E2BIG']), MessageType.ERROR);
      else wire.reply(at, joinStrings([String(at), 'x']));
      await turn();
    }
    expect(await restless).toBe('EAGAIN');

    const refused = codeOf(client.list('/d'));
    wire.reply(wire.sent.length - 1, joinStrings(['EACCES']), MessageType.ERROR);
    expect(await refused).toBe('EACCES');
    const senseless = codeOf(client.list('/d'));
    wire.reply(wire.sent.length - 1, joinStrings(['E2BIG']), MessageType.ERROR);
    await turn();
    wire.reply(wire.sent.length - 1, joinStrings(['1']));
    expect(await senseless).toBe('EPROTO');
  });

  it('is over when it is closed, at any moment', async () => {
    const asked = client.read('/a');
    client.close();
    client.close();
    expect(wire.closed).toBe(true);
    expect(await codeOf(asked)).toBe('ECLOSED');
    expect(await codeOf(client.read('/a'))).toBe('ECLOSED');
    wire.reply(0, new Uint8Array(0));
    wire.event('/w', '1');
    wire.end('late');
    expect(client.describe()).toEqual({ pending: 0, watches: 0, closed: true, strayMessages: 0 });
  });

  it('passes on what a transport throws, and forgets the request', async () => {
    wire.send = () => {
      throw new Error('no wire');
    };
    await expect(client.read('/a')).rejects.toThrow('no wire');
    expect(client.describe().pending).toBe(0);
  });

  it('sets a watch without depth where the server has none, and leaves out what is too deep', async () => {
    const seen: string[] = [];
    const watching = client.watch('/w', (path) => seen.push(path), { depth: 1 });
    wire.reply(0, joinStrings(['EINVAL']), MessageType.ERROR);
    await turn();
    wire.reply(1, joinStrings(['OK']));
    await watching;
    const token = splitStrings(wire.sent[1]!.payload).strings[1]!;
    for (const path of ['/w', '/w/a', '/w/a/b']) wire.event(path, token);
    await turn();
    expect(seen).toEqual(['/w', '/w/a']);
    expect(client.describe().watches).toBe(1);
  });
});
