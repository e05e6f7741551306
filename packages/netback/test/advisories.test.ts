// Advisories about other drivers, or about how a kernel does things, and what in their stead must hold here.
import { holdChain, releaseChain } from '@netaccel/core-hooks';
import type { Frame } from '@netaccel/core-hooks';
import { XenbusState } from '@netaccel/xen';
import { Status, TxFlag } from '@netaccel/xen/netif';
import { describe, expect, test } from 'vitest';
import { CLEAN_END, NOTHING_HELD, VifLab, pattern } from './lab.js';
import { NEAR_WRAP } from './scripted-frontend.js';
import { Sender } from './sender.js';

const OKAY = (ids: readonly number[]) => ids.map((id) => ({ id, status: Status.okay }));

describe('XSA-157: what is asked in a state that does not allow it is not done', () => {
  // The guest's keys and rings are all there; only its state does not say that they may be used.
  test.each(['Initialising', 'InitWait', 'Closing', 'Closed', 'Reconfigured'] as const)(
    'requests of a frontend that is %s',
    async (state) => {
      const lab = await VifLab.make();
      await lab.run(lab.netback.start());
      const started = lab.back.ledger();
      const { frontend } = lab;
      frontend.open();
      for (const [key, value] of Object.entries(frontend.keys()))
        await lab.run(lab.guest.store.write(`${frontend.path}/${key}`, value!));
      await lab.run(frontend.state(XenbusState[state]));
      const { queue } = frontend;
      const ids = queue.packet(pattern(60));
      queue.publish();
      queue.post(4);
      await lab.settle();
      expect(lab.network.frames).toEqual([]);
      expect(queue.responses()).toEqual([]);
      expect(lab.back.ledger()).toMatchObject({ mappings: 0, ports: 0, pages: started.pages });

      // It goes on as it should have begun, and what waited is served, once.
      await lab.run(frontend.state(XenbusState.Closed));
      await lab.settle();
      await lab.run(frontend.state(XenbusState.Initialising));
      await lab.settle();
      expect(await lab.backState()).toBe(XenbusState.InitWait);
      await lab.run(frontend.state(XenbusState.Connected));
      await lab.settle();
      expect(lab.network.frames).toHaveLength(1);
      expect(queue.responses()).toEqual(OKAY(ids));
      expect(await lab.end()).toEqual(CLEAN_END);
    },
  );

  test('requests, buffers and events after a close: no slot is answered, no frame delivered', async () => {
    const lab = await VifLab.connected();
    const { queue } = lab.frontend;
    queue.packet(pattern(60));
    expect(await lab.exchange()).toHaveLength(1);
    await lab.run(lab.frontend.state(XenbusState.Closing));
    await lab.settle();
    const page = lab.guest.memory.bytes.slice(queue.rings.address, queue.rings.address + 8192);
    queue.packet(pattern(60));
    queue.tx.publish();
    queue.txChannel.notify();
    queue.post(4);
    const written = lab.guest.memory.bytes.slice(queue.rings.address, queue.rings.address + 8192);
    expect(written).not.toEqual(page);
    await lab.settle();
    expect(lab.guest.memory.bytes.slice(queue.rings.address, queue.rings.address + 8192)).toEqual(written);
    expect(lab.network.frames).toHaveLength(1);
    expect(lab.back.ledger()).toMatchObject({ mappings: 0, ports: 0 });
    expect(await lab.end()).toEqual(CLEAN_END);
  });
});

describe('XSA-229: pages that lie side by side are not one buffer', () => {
  test('a fragment that runs over the end of its page is not continued in the next one', async () => {
    const lab = await VifLab.connected();
    const { queue } = lab.frontend;
    // Both pages are the guest's, and granted; the second lies right behind the first.
    expect(queue.txPages.refs[1]).not.toBe(queue.txPages.refs[0]);
    const bytes = pattern(200, 9);
    lab.guest.memory.bytes.set(bytes, queue.txPages.address + 4000);
    const id = queue.request({ offset: 4000, size: 200 });
    expect(await lab.exchange()).toEqual([{ id, status: Status.error }]);
    expect(lab.network.frames).toEqual([]);
    expect(lab.netback.statistics().txErrors['crosses-page']).toBe(1);

    // As two fragments, each with its own grant, the same bytes are a packet.
    const first = queue.request({ offset: 4000, size: 200, flags: TxFlag.moreData });
    const second = queue.request({ size: 104 }, 1);
    expect(await lab.exchange()).toEqual(OKAY([first, second]));
    expect(lab.network.frames.map((frame) => frame.bytes)).toEqual([bytes]);
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('nor does a received frame go on in the buffer behind its own', async () => {
    const sender = await Sender.make();
    const { queue } = sender;
    await sender.post(8);
    for (const [n, length] of [100, 4096, 4097, 60].entries()) sender.deliver(pattern(length, n));
    await sender.flush();
    const packets = queue.packets();
    expect(packets.map((packet) => ('bytes' in packet ? packet.bytes.length : packet))).toEqual([
      100, 4096, 4097, 60,
    ]);
    // Behind each piece its page is as it was posted.
    const { bytes } = sender.lab.guest.memory;
    for (const [slot, length] of [100, 4096, 4096, 1, 60].entries()) {
      const page = queue.rxPages.address + (((NEAR_WRAP + slot) >>> 0) % 64) * 4096;
      const rest = bytes.subarray(page + length, page + 4096);
      expect(rest.every((byte) => byte === 0xee)).toBe(true);
    }
    await sender.end();
  });
});

describe('XSA-424: a frame may be given back anywhere, within our own calls too', () => {
  test('the network gives frames back while a batch is delivered: the ring goes on, in order, each frame once', async () => {
    const lab = await VifLab.connected({
      netback: { limits: { smallBuffers: 4, largeBuffers: 1, backlogBytes: 65536 } },
    });
    const { queue } = lab.frontend;
    const { network } = lab;
    // All buffers are out again and again; each comes home from within a delivery or a flush, and raises the queue.
    network.holding = true;
    network.onDeliver = () => {
      if (network.held.length > 2) network.releaseHeld();
    };
    network.onFlush = () => network.releaseHeld();
    const ids: number[] = [];
    for (let n = 0; n < 60; n++) ids.push(...queue.packet(pattern(60 + n, n)));
    const answered = await lab.exchange();
    expect(answered).toEqual(OKAY(ids));
    expect(network.frames.map(({ bytes }) => bytes)).toEqual(ids.map((_, n) => pattern(60 + n, n)));
    network.releaseHeld();
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('a frame that is sent back to its guest from within its delivery, and dropped there, comes home', async () => {
    const lab = await VifLab.connected({
      netback: { limits: { smallBuffers: 4, largeBuffers: 1, backlogBytes: 65536, backlogFrames: 2 } },
    });
    const { queue } = lab.frontend;
    // A network that echoes at once: delivered, queued, dropped for want of room, all inside of the poll.
    const echo = (frame: Frame): void => {
      holdChain(frame);
      lab.netback.deliver(frame);
      lab.netback.flush();
      releaseChain(frame);
    };
    lab.network.onDeliver = echo;
    const ids: number[] = [];
    for (let n = 0; n < 20; n++) ids.push(...queue.packet(pattern(60, n)));
    queue.publish();
    await lab.settle();
    const { rxDropped, rxFrames, rxQueued } = lab.netback.statistics();
    const dropped = Object.values(rxDropped).reduce((sum, n) => sum + n, 0);
    expect([lab.network.frames.length, dropped]).toEqual([20, 18]);
    expect([rxFrames, rxQueued]).toEqual([0, 2]);
    // Room for what waits, and for the echoes of what is sent meanwhile.
    lab.network.onDeliver = () => undefined;
    queue.post(8);
    await lab.settle();
    expect(queue.packets()).toHaveLength(2);
    expect(queue.responses().map(({ id }) => id)).toEqual(ids);
    expect(await lab.end()).toEqual(CLEAN_END);
    expect(lab.back.ledger()).toEqual(NOTHING_HELD);
  });
});
