// One guest of concurrency.test.ts: sends numbered frames and checks the numbers of those that arrive, asleep on
// its interrupt when there is nothing to do. Plain JavaScript over the built package: Node 20 cannot run a worker
// from TypeScript.
import { parentPort, workerData } from 'node:worker_threads';
import { EventBatch, EventType, VirtualInterface } from '@netaccel/nic-vi';
import { Nic, Wire } from '@netaccel/nic-vi/model';

const { buffer, nics: places, wire, me, guests, vi: place, frames, window, flags } = workerData;
const bytes = new Uint8Array(buffer);
const memory = {
  bytes,
  halves: new Uint16Array(buffer),
  words: new Uint32Array(buffer),
  copy: (to, from, length) => bytes.copyWithin(to, from, from + length),
  clear: (at, length) => bytes.fill(0, at, at + length),
  sum: (at, length, initial) => {
    let sum = initial;
    for (let i = 0; i < length; i += 2)
      sum += (bytes[at + i] << 8) | (i + 1 < length ? bytes[at + i + 1] : 0);
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
    return sum;
  },
};
const bells = new Int32Array(buffer);
const options = {
  interrupt(vector) {
    Atomics.store(bells, flags / 4 + vector, 1);
    Atomics.notify(bells, flags / 4 + vector);
  },
};
const nics = places.map((at) => Nic.attach(memory, at, options));
Wire.attach(memory, wire, { nic: nics[0], port: 0 }, { nic: nics[1], port: 0 });
const nic = nics[place.nic];
const page = place.registerPage;
const vi = new VirtualInterface(
  memory,
  {
    write32(offset, value) {
      Atomics.store(memory.words, (page + offset) >>> 2, value);
      nic.registerWritten(page + offset);
    },
    read32: (offset) => Atomics.load(memory.words, (page + offset) >>> 2),
    unmap() {},
  },
  place.rings,
);
const buffers = place.rings.receiveCapacity;
for (let i = 0; i < buffers; i++) vi.receiveInit(place.receiveBus + i * 2048, 2048, i);
vi.receivePush();
// Nobody sends before everybody can receive.
const ready = flags / 4 + 512;
if (Atomics.add(bells, ready, 1) + 1 === guests) Atomics.notify(bells, ready);
for (let n = Atomics.load(bells, ready); n < guests; n = Atomics.load(bells, ready))
  Atomics.wait(bells, ready, n);

const batch = new EventBatch(64);
const ids = new Int32Array(64);
const free = Array.from({ length: 64 }, (_, i) => i);
const NUMBER = 16; // words of a frame, from an aligned start: number, acknowledgement, check
let [sent, received, acknowledged, told, sleeps, timeouts, wakes] = [0, 0, 0, 0, 0, 0, 0];

function send(number) {
  const slot = free.pop();
  const at = place.transmitAddress + slot * 2048;
  const length = 76 + ((number * 37) % 1400);
  bytes.set(place.to, at);
  bytes.set(place.from, at + 6);
  bytes[at + 12] = 0x88;
  bytes[at + 13] = 0xb5; // local experimental
  memory.words[(at + NUMBER) / 4] = number;
  memory.words[(at + NUMBER) / 4 + 1] = received;
  bytes[at + length - 1] = number;
  vi.transmitInit(place.transmitBus + slot * 2048, length, slot);
  told = received;
}

function take() {
  const n = vi.poll(batch);
  for (let i = 0; i < n; i++) {
    if (batch.type[i] === EventType.transmit) {
      const done = vi.transmitUnbundle(batch.detail[i], ids);
      for (let k = 0; k < done; k++) free.push(ids[k]);
    } else if (batch.type[i] === EventType.receive) {
      const at = place.receiveAddress + batch.id[i] * 2048;
      const number = memory.words[(at + NUMBER) / 4];
      if (number !== 0xffff_ffff) {
        if (number !== received) throw new Error(`guest ${me}: frame ${received} expected, ${number} seen`);
        if (bytes[at + batch.bytes[i] - 1] !== (number & 255))
          throw new Error(`guest ${me}: frame ${number} is torn`);
        received++;
      }
      acknowledged = Math.max(acknowledged, memory.words[(at + NUMBER) / 4 + 1]);
      vi.receiveInit(place.receiveBus + batch.id[i] * 2048, 2048, batch.id[i]);
    } else throw new Error(`guest ${me}: event ${batch.type[i]}`);
  }
  vi.receivePush();
  return n;
}

const finished = () => sent === frames && acknowledged === frames && received === frames && told === frames;
while (!finished()) {
  let work = take();
  while (sent < frames && sent - acknowledged < window && free.length > 0) {
    send(sent++);
    work++;
  }
  if (received !== told && (received - told >= window / 2 || work === 0) && free.length > 0) {
    send(0xffff_ffff);
    work++;
  }
  vi.transmitPush();
  if (work > 0 || finished()) continue;
  Atomics.store(bells, flags / 4 + place.vector, 0);
  if (vi.prime()) continue;
  sleeps++;
  const woken = Atomics.wait(bells, flags / 4 + place.vector, 0, 5000);
  if (woken === 'timed-out') timeouts++;
  else wakes++;
}
parentPort.postMessage({ sent, received, sleeps, timeouts, wakes, bad: vi.badEvents });
