// Large TCP segments: one transmit of 64 KiB, cut by the NIC, received in buffers of 2 KiB, and joined again.
// node bench/segments.mjs [full|blank] [merge] [concurrent]
import { Checksum, Frame } from '@netaccel/core-hooks';
import { EventBatch, EventFlag, ReceiveMerger, TransmitFlag } from '../dist/index.js';
import { EventType, setup, tcpFrame } from './setup.mjs';

const has = (w) => process.argv.includes(w);
const { memory, sides } = setup({
  checksums: has('blank') ? 1 : 0,
  concurrent: has('concurrent'),
  txPages: 128,
});
const [a, b] = sides;
const total = 65535 - 1 + 14;
for (let i = 0; i < 4; i++) tcpFrame(memory, a.txAddress + i * 65536 * 2, total);
b.control.addFilter(b.id, { kind: 'mac', mac: [2, 0, 0, 0, 0, 2] });
const events = new EventBatch(256);
const ids = new Int32Array(64);
const owner = {
  reclaim(frame) {
    b.vi.receiveInit(b.rxBus + frame.index * 2048, 2048, frame.index);
  },
};
const frames = Array.from({ length: 1024 }, (_, i) => new Frame(owner, i, b.rxAddress + i * 2048, 2048));
let delivered = 0;
const sink = {
  deliver() {
    delivered++;
  },
  flush() {},
};
const merger = has('merge') ? new ReceiveMerger(memory, sink) : null;
function run(count) {
  for (let k = 0; k < count; k++) {
    a.vi.transmitInit(
      a.txBus + (k & 3) * 65536 * 2,
      total,
      k,
      TransmitFlag.checksum | TransmitFlag.segment,
      1448,
    );
    a.vi.transmitPush();
    for (let n = b.vi.poll(events); n > 0; n = b.vi.poll(events)) {
      for (let i = 0; i < n; i++) {
        if (events.type[i] !== EventType.receive) continue;
        const frame = frames[events.id[i]];
        frame.holders = 1;
        frame.describe(frame.home, events.bytes[i]);
        frame.checksum = (events.flags[i] & EventFlag.checksumGood) !== 0 ? Checksum.good : Checksum.blank;
        // A blank field counts as good to the merger: what it makes is blank anyway.
        if (merger === null) sink.deliver(frame);
        else {
          frame.checksum = Checksum.good;
          merger.push(frame);
        }
        frame.release();
      }
    }
    merger?.flush();
    b.vi.receivePush();
    const n = a.vi.poll(events);
    for (let i = 0; i < n; i++)
      if (events.type[i] === EventType.transmit) a.vi.transmitUnbundle(events.detail[i], ids);
  }
}
run(3000);
const times = [];
for (let k = 0; k < 200; k++) {
  const t = performance.now();
  run(100);
  times.push(((performance.now() - t) * 1000) / 100);
}
times.sort((x, y) => x - y);
const [low, median] = [times[10], times[100]];
console.log(
  `${process.argv.slice(2).join(' ')}: 5 % ${low.toFixed(2)}, median ${median.toFixed(2)} us per 64 KiB, ` +
    `${((total * 8) / low / 1000).toFixed(0)} Gb/s; ${(delivered / (3000 + 20000)).toFixed(1)} frames delivered for each`,
);
