import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { connectDirect, StoreClient, StoreServer } from '../../src/store/index.js';

it('the example of the documentation runs, and is this one', async () => {
  // example: begin
  const server = new StoreServer();
  const tools = new StoreClient(connectDirect(server, 0, queueMicrotask));
  const guest = new StoreClient(connectDirect(server, 5, queueMicrotask));

  // The toolstack makes the guest's directory and gives it away.
  await tools.mkdir('/local/domain/5/device');
  await tools.setPermissions('/local/domain/5/device', [{ domid: 5, access: 'none' }]);

  // The guest watches a key and writes others, all of them or none.
  const seen: string[] = [];
  const watch = await guest.watch('device/vif/0', (path) => seen.push(path));
  await guest.transaction(async (tx) => {
    await guest.write('device/vif/0/tx-ring-ref', '8', tx);
    await guest.write('device/vif/0/state', '4', tx);
  });
  await watch.remove();
  // example: end
  expect(seen).toEqual(['device/vif/0', 'device/vif/0/tx-ring-ref', 'device/vif/0/state']);
  expect(await tools.read('/local/domain/5/device/vif/0/state')).toBe('4');

  const here = readFileSync(new URL(import.meta.url), 'utf8');
  const docs = readFileSync(new URL('../../src/store/index.ts', import.meta.url), 'utf8');
  const [, code] = /example: begin\n(.*?)\n {2}\/\/ example: end/s.exec(here)!;
  const [, shown] = /```ts\n(.*?)\n \* ```/s.exec(docs)!;
  expect(shown!.replace(/^ \* ?/gm, '')).toBe(code!.replace(/^ {2}/gm, ''));
});
