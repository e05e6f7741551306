// Two NICs on one wire, one VI on each, in one memory: what the measurements run on.
import { EventType, Register, VirtualInterface } from '../dist/index.js';
import { Nic, Wire, nicStateBytes, wireStateBytes } from '../dist/model/index.js';
import { wasmMemory } from './wasm-memory.mjs';

const PAGE = 4096;

export function setup({
  concurrent = false,
  mtu = 1500,
  bufferBytes = 2048,
  buffers = 1024,
  checksums = 0,
  start = 0,
  txPages = 64,
} = {}) {
  const memory = wasmMemory(1024);
  let next = PAGE;
  const take = (bytes) => {
    const at = next;
    next += Math.ceil(bytes / PAGE) * PAGE;
    return at;
  };
  const config = { mtu };
  const nics = [];
  const interrupts = [0, 0];
  for (let i = 0; i < 2; i++) {
    nics.push(
      Nic.create(
        memory,
        take(nicStateBytes(config)),
        { concurrent, interrupt: () => interrupts[i]++ },
        {
          ...config,
          macs: [[2, 0, 0, 0, 0, i + 1]],
        },
      ),
    );
  }
  const wire = Wire.create(
    memory,
    take(wireStateBytes({ mtu })),
    { nic: nics[0], port: 0 },
    { nic: nics[1], port: 0 },
    { mtu },
  );
  wire.set({ checksums });
  const sides = nics.map((nic, i) => {
    const tx = take(PAGE),
      rx = take(PAGE * 2),
      ev = take(PAGE * 8),
      page = take(PAGE);
    const control = nic.control(0);
    const pages = (a, n) => Array.from({ length: n }, (_, k) => a + k * PAGE);
    const id = control.allocateVi({
      owner: 1,
      transmitPages: pages(tx, 1),
      transmitCapacity: 256,
      receivePages: pages(rx, 2),
      receiveCapacity: 1024,
      eventPages: pages(ev, 8),
      eventCapacity: 2048,
      registerPage: page,
      vector: i,
      startIndex: start,
    });
    const registers = concurrent
      ? new SharedRegisters(memory, nic, page)
      : new PlainRegisters(memory, nic, page);
    const vi = new VirtualInterface(memory, registers, {
      transmitRing: tx,
      transmitCapacity: 256,
      receiveRing: rx,
      receiveCapacity: 1024,
      eventQueue: ev,
      eventCapacity: 2048,
      startIndex: start,
    });
    const rxAddress = take(buffers * bufferBytes);
    const rxBus = control.registerBuffers(id, pages(rxAddress, (buffers * bufferBytes) / PAGE));
    const txAddress = take(txPages * PAGE);
    const txBus = control.registerBuffers(id, pages(txAddress, txPages));
    for (let k = 0; k < buffers - 1; k++) vi.receiveInit(rxBus + k * bufferBytes, bufferBytes, k);
    vi.receivePush();
    return { nic, control, id, vi, registers, rxAddress, rxBus, txAddress, txBus, bufferBytes };
  });
  return { memory, nics, wire, sides, interrupts };
}

/** The machine's side of a register page, in a machine of several threads and in one of one thread. */
class SharedRegisters {
  constructor(memory, nic, page) {
    this.words = memory.words;
    this.nic = nic;
    this.page = page;
  }
  write32(offset, value) {
    Atomics.store(this.words, (this.page + offset) >>> 2, value);
    this.nic.registerWritten(this.page + offset);
  }
  read32(offset) {
    return Atomics.load(this.words, (this.page + offset) >>> 2);
  }
  unmap() {}
}
class PlainRegisters {
  constructor(memory, nic, page) {
    this.words = memory.words;
    this.nic = nic;
    this.page = page;
  }
  write32(offset, value) {
    this.words[(this.page + offset) >>> 2] = value;
    this.nic.registerWritten(this.page + offset);
  }
  read32(offset) {
    return this.words[(this.page + offset) >>> 2];
  }
  unmap() {}
}

/** A TCP/IPv4 frame of `length` bytes to the other side's MAC, checksum left blank. */
export function tcpFrame(memory, at, length, { to = 2, from = 1, port = 80 } = {}) {
  const b = memory.bytes;
  b.fill(0, at, at + 54);
  b.set([2, 0, 0, 0, 0, to, 2, 0, 0, 0, 0, from, 8, 0], at);
  const ip = at + 14;
  const total = length - 14;
  b.set([0x45, 0, total >> 8, total & 255, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, from, 10, 0, 0, to], ip);
  const sum = ~memory.sum(ip, 20, 0) & 0xffff;
  b[ip + 10] = sum >> 8;
  b[ip + 11] = sum & 255;
  b.set(
    [0x12, 0x34, port >> 8, port & 255, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0],
    at + 34,
  );
  for (let i = 54; i < length; i++) b[at + i] = i;
}
export { EventType, Register };
