import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { afterEach, describe, expect, it } from 'vitest';
import { connectPort, servePort, StoreClient, StoreServer, type Connection } from '../../src/store/index.js';

describe('a store behind a MessagePort', () => {
  const open: MessagePort[] = [];
  afterEach(() => {
    for (const port of open.splice(0)) port.close();
  });

  function connect(
    server: StoreServer,
    domid: number,
  ): { client: StoreClient; connection: Connection; port: MessagePort } {
    const { port1, port2 } = new MessageChannel();
    open.push(port1, port2);
    const connection = servePort(server, domid, port1);
    return { client: new StoreClient(connectPort(port2)), connection, port: port2 };
  }

  it('answers, and tells of changes', async () => {
    const server = new StoreServer();
    const { client } = connect(server, 0);
    await client.write('/a', 'v');
    const seen: string[] = [];
    let gotAll: () => void = () => undefined;
    const all = new Promise<void>((resolve) => (gotAll = resolve));
    await client.watch('/a', (path) => {
      seen.push(path);
      if (path === '/a/last') gotAll();
    });
    for (let n = 0; n < 100; n++) void client.write(`/a/${n}`, '');
    await client.write('/a/last', '');
    await all;
    expect(seen).toHaveLength(102);
    expect(await client.list('/a')).toHaveLength(101);
  });

  it('ends for both when the client closes it', async () => {
    const server = new StoreServer();
    const { client } = connect(server, 5);
    const other = connect(server, 0).client;
    await client.watch('/a', () => undefined);
    client.close();
    // The other's answer comes after the end has arrived.
    while (server.describe().connections.length > 1) await other.exists('/');
    expect(server.describe().counts[5]).toBeUndefined();
  });

  it('ends for both when the server does', async () => {
    const server = new StoreServer();
    const { client } = connect(server, 5);
    await client.exists('/').catch(() => undefined);
    const pending = client.read('/');
    server.releaseDomain(5);
    await expect(pending).rejects.toThrow(/domain 5 was released|EACCES/);
    await expect(client.read('/')).rejects.toThrow(/closed|ended/);
  });

  it('is cut when the client posts what is no frame', async () => {
    const server = new StoreServer();
    const { connection, port } = connect(server, 5);
    const other = connect(server, 0).client;
    port.postMessage({ type: 2 });
    while (!connection.closed) await other.exists('/');
    expect(server.describe().connections).toHaveLength(1);
  });

  it('keeps what a client does not take in the server', async () => {
    const server = new StoreServer();
    const { port1, port2 } = new MessageChannel();
    open.push(port1, port2);
    servePort(server, 0, port1);
    const writer = connect(server, 0).client;
    // A client that never says "taken": a watch, then nothing.
    port2.postMessage(Uint8Array.from([4, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 47, 97, 0, 116, 0]));
    while (server.describe().connections[0]!.watches === 0) await writer.exists('/');
    for (let n = 0; n < 100; n++) await writer.write('/a', String(n));
    expect(server.describe().counters.eventsCoalesced).toBeGreaterThan(80);
    expect(server.describe().connections[0]!.waitingReplyBytes).toBeGreaterThan(0);
  });
});
