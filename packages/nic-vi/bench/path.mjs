// Nanoseconds a frame for the whole transparent path in one thread: transmitInit, push, NIC, receive event, poll,
// repost, transmit completion. node bench/path.mjs [frameBytes] [batch] [flags] [concurrent] [blank] [nofilter]
import { EventBatch, TransmitFlag } from '../dist/index.js';
import { EventType, setup, tcpFrame } from './setup.mjs';

const [length = 64, batch = 32] = process.argv.slice(2).map(Number);
const has = (w) => process.argv.includes(w);
const { memory, sides, wire } = setup({
  concurrent: has('concurrent'),
  checksums: has('blank') ? 1 : 0,
  buffers: Number(process.env.BUFFERS ?? 1024),
});
const [a, b] = sides;
for (let i = 0; i < 64; i++) tcpFrame(memory, a.txAddress + i * 2048, length);
if (has('local'))
  b.control.addFilter(b.id, {
    kind: 'local',
    mac: [2, 0, 0, 0, 0, 2],
    protocol: 'tcp',
    localAddress: [10, 0, 0, 2],
    localPort: 80,
  });
else b.control.addFilter(b.id, { kind: 'mac', mac: [2, 0, 0, 0, 0, 2] });
const flags = has('csum') ? TransmitFlag.checksum : 0;
if (has('filled'))
  for (let i = 0; i < 64; i++) {
    const at = a.txAddress + i * 2048;
    const l = length - 34;
    const s = ~memory.sum(at + 34, l, ((10 << 8) * 2 + 1 + 2 + 6 + l) & 0xffff) & 0xffff;
    memory.bytes[at + 50] = s >> 8;
    memory.bytes[at + 51] = s & 255;
  }
const events = new EventBatch(256);
const ids = new Int32Array(64);
let received = 0,
  completed = 0;
function run(frames) {
  const end = received + frames;
  while (received < end) {
    for (let i = 0; i < batch; i++) a.vi.transmitInit(a.txBus + (i & 63) * 2048, length, i, flags);
    a.vi.transmitPush();
    let n = b.vi.poll(events);
    for (let i = 0; i < n; i++) {
      if (events.type[i] === EventType.receive) {
        received++;
        const id = events.id[i];
        b.vi.receiveInit(b.rxBus + id * 2048, 2048, id);
      }
    }
    b.vi.receivePush();
    n = a.vi.poll(events);
    for (let i = 0; i < n; i++)
      if (events.type[i] === EventType.transmit) completed += a.vi.transmitUnbundle(events.detail[i], ids);
  }
}
run(5e5);
// Many short slices: on a machine with neighbours the low percentiles are what the code costs.
const times = [];
for (let k = 0; k < 400; k++) {
  const t = performance.now();
  run(16384);
  times.push(((performance.now() - t) * 1e6) / 16384);
}
times.sort((x, y) => x - y);
const at = (q) => times[Math.floor(q * (times.length - 1))].toFixed(1);
console.log(
  `${length} B, batch ${batch}, ${process.argv.slice(4).join(' ')}: 5 % ${at(0.05)}, median ${at(0.5)}, 95 % ${at(0.95)} ns/frame`,
);
if (received !== completed)
  console.log(
    'lost',
    received,
    completed,
    b.control.viStatistics(b.id),
    a.control.viStatistics(a.id),
    b.control.portStatistics(),
  );
if (has('stats'))
  console.log(
    b.control.viStatistics(b.id),
    a.control.viStatistics(a.id),
    b.control.filters(b.id),
    wire.describe(),
  );
