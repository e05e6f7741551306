/**
 * A domain of a lab in a thread of its own: joins the machine, attaches to the hardware, runs a guest's or a driver
 * domain's programs, and answers the lab's questions. Started by `WorkerLab`, one worker a domain.
 */
import { readlinkSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import type { FrameSink, Memory } from '@netaccel/core-hooks';
import { joinMachine } from '@netaccel/xen/sim/workers';
import type { DomainSeat, JoinedMachine, Waker } from '@netaccel/xen/sim/workers';
import { BridgeWatch } from '../ports/bridge-watch.js';
import type { WatchedPorts } from '../ports/bridge-watch.js';
import { FilePort } from '../ports/file-port.js';
import { TapPort } from '../ports/tap-port.js';
import type { GivenOptions } from '../plugin-options.js';
import { TapDevice, Waiter, loadLibc } from '../tap/index.js';
import type { Libc, TapDescription } from '../tap/index.js';
import type { Transmitter } from '../traffic/transmitter.js';
import { DriverDomain } from './driver-domain.js';
import { Guest } from './guest.js';
import { attachHardware } from './hardware.js';
import type { LabHardware } from './hardware.js';
import { kicksBy } from './kicks.js';
import type { DomainLedger } from './ledger.js';
import { keepTime } from './time-keeper.js';
import { microseconds } from './time.js';
import type { DeskCalls } from './vif-desk.js';
import type { Question, WorkerOrder } from './worker-protocol.js';

/** Fragments of one frame that a TAP is written from: a merged receive chain. */
const TAP_FRAGMENTS = 64;
/** A frame that nothing is done with. */
const nowhere: FrameSink = { deliver: () => undefined, flush: () => undefined };

/** What the lab may ask. */
interface Programs {
  start(): Promise<void>;
  stop(): Promise<void>;
  ledger(): DomainLedger;
  describe(): unknown;
  load(name: string, options: GivenOptions): Promise<string>;
  unload(name: string): Promise<void>;
  watch(ports: WatchedPorts | null): void;
  suspend(): Promise<number>;
  resume(timeoutMs: number): Promise<void>;
  rehome(seat: DomainSeat): void;
  desk(call: keyof DeskCalls, args: readonly unknown[]): Promise<unknown>;
}

async function main(order: WorkerOrder): Promise<void> {
  const { seat } = order;
  // A domain without a TAP wakes its neighbours that have one.
  const libc = order.kicks ? await loadLibc() : null;
  const device =
    libc === null || order.tap === null
      ? null
      : { libc, tap: order.tap, waker: new TapWaker(libc, order.tap.descriptor) };
  const waker = device?.waker;
  const machine = joinMachine(seat.description, seat.id, {
    storePort: seat.storePort,
    name: seat.name,
    eventChannels: seat.eventChannels,
    ...(waker === undefined ? {} : { waker }),
    ...(libc === null ? {} : { wake: kicksBy(libc) }),
    log: (level, message) => {
      parentPort!.postMessage({ kind: 'log', level, message: `${seat.name}: ${message}` });
    },
  });
  const hardware = attachHardware(machine.memory, order.hardware, {
    interrupt: (vector) => {
      machine.raise(vector);
    },
    clock: microseconds,
    concurrent: true,
  });
  machine.deviceResolver = (page) => hardware.handlerOf(page);
  if (hardware.timed) keepTime(machine.loop, hardware, microseconds);
  const programs =
    order.role.kind === 'guest' ? guest(machine, order, device) : driver(machine, hardware, order, device);
  parentPort!.on('message', (question: Question) => {
    void answer(programs, question);
  });
  parentPort!.postMessage({ kind: 'ready', thread: threadId() });
  await machine.loop.run();
  parentPort!.close();
  waker?.close();
}

async function answer(programs: Programs, { id, method, args }: Question): Promise<void> {
  try {
    const result = await perform(programs, method, args);
    parentPort!.postMessage({ kind: 'answer', id, result });
  } catch (error) {
    const { message, code } = error as Error & { code?: string };
    parentPort!.postMessage({ kind: 'answer', id, error: { message, code } });
  }
}

function perform(programs: Programs, method: Question['method'], args: readonly unknown[]): unknown {
  if (method === 'load') return programs.load(String(args[0]), (args[1] ?? {}) as GivenOptions);
  if (method === 'unload') return programs.unload(String(args[0]));
  if (method === 'watch') return (programs.watch(args[0] as WatchedPorts | null), null);
  if (method === 'resume') return programs.resume(Number(args[0]));
  if (method === 'rehome') return (programs.rehome(args[0] as DomainSeat), null);
  if (method === 'desk') return programs.desk(args[0] as keyof DeskCalls, args.slice(1));
  return programs[method]();
}

interface OpenTap {
  readonly libc: Libc;
  readonly tap: TapDescription;
  readonly waker: TapWaker;
}

function guest(machine: JoinedMachine, order: WorkerOrder, tap: OpenTap | null): Programs {
  if (order.role.kind !== 'guest') throw new Error('a guest is expected');
  const { frontend, queues, replay, mtu } = order.role;
  const { domain, loop, memory } = machine;
  let port: TapPort | FilePort | null = null;
  const programs = new Guest({
    domain,
    handle: 0,
    stack: { deliver: (frame) => port?.deliver(frame), flush: () => port?.flush() },
    onReady: () => {
      if (port instanceof TapPort) port.poll();
      else port?.resume();
    },
    onSuspended: () => port?.putAside(),
    queues,
    pluginsFrom: order.pluginsFrom,
    ...(frontend === null ? {} : { frontend }),
    during: (work) => loop.during(work),
  });
  const tapped = tapPort(memory, tap, programs.netfront);
  if (tapped !== null) loop.addPoller(() => port !== null && tapped.poll()); // closed, it takes no buffer any more
  const file =
    replay === null
      ? null
      : new FilePort(memory, loop, programs.netfront, replay, mtu, (message) => {
          domain.log('warn', message);
        });
  port = tapped ?? file;
  return {
    start: async () => {
      await programs.start();
      file?.start();
    },
    stop: async () => {
      port?.close();
      port = null;
      await programs.stop();
    },
    ledger: () => ({ ...domain.ledger(), frames: 0 }),
    describe: () => ({
      ...programs.describe(),
      eventChannels: domain.events.form,
      tap: tapState(tapped),
      replay: file?.statistics ?? null,
    }),
    load: () => Promise.reject(new Error('a frontend plugin is loaded when the backend names it')),
    unload: (name) => programs.registry.unregister(name),
    watch: () => undefined,
    suspend: () => programs.suspend(),
    resume: (timeoutMs) => programs.resume(timeoutMs),
    rehome: (seat) => {
      machine.rehome(seat);
    },
    desk: () => Promise.reject(new Error('a guest has no vifs of others')),
  };
}

function driver(
  machine: JoinedMachine,
  hardware: LabHardware,
  order: WorkerOrder,
  tap: OpenTap | null,
): Programs {
  if (order.role.kind !== 'driver') throw new Error('a driver domain is expected');
  const { role } = order;
  const nic = hardware.nicOf(role.host)!;
  const programs = new DriverDomain({
    domain: machine.domain,
    hardware: { ports: hardware.portsOf(role.host), registers: (page) => hardware.registers(nic, page) },
    bridged: role.bridged,
    ageingMs: role.ageingMs,
    merging: role.merging,
    pluginsFrom: order.pluginsFrom,
  });
  let port: TapPort | null = null;
  const own = programs.openInterface(
    tap === null ? nowhere : { deliver: (frame) => port?.deliver(frame), flush: () => undefined },
  );
  port = tapPort(machine.memory, tap, own);
  if (port !== null) machine.loop.addPoller(() => port?.poll() ?? false);
  const watch = new BridgeWatch(machine.domain, programs.bridge, microseconds, (batch) => {
    parentPort!.postMessage({ kind: 'frames', batch });
  });
  return {
    start: () => programs.start(),
    stop: async () => {
      port?.close();
      port = null;
      await programs.stop();
    },
    ledger: () => ({ ...machine.domain.ledger(), frames: programs.framesLeft }),
    describe: () => ({
      ...programs.describe(),
      eventChannels: machine.domain.events.form,
      nic: nic.describe(),
      tap: tapState(port),
    }),
    load: (name, options) => machine.loop.during(programs.load(name, options)),
    unload: (name) => programs.unload(name),
    watch: (ports) => {
      watch.watch(ports);
    },
    suspend: () => Promise.reject(new Error('a driver domain is not moved')),
    resume: () => Promise.reject(new Error('a driver domain is not moved')),
    rehome: () => undefined,
    desk: async (call, args) =>
      (programs.desk[call] as (...all: unknown[]) => Promise<unknown>).apply(programs.desk, [...args]),
  };
}

function tapPort(memory: Memory, open: OpenTap | null, out: Transmitter): TapPort | null {
  if (open === null) return null;
  const port = new TapPort(memory, new TapDevice(open.libc, open.tap, memory.bytes, TAP_FRAGMENTS), out);
  open.waker.port = port;
  return port;
}

function tapState(port: TapPort | null): unknown {
  return port === null ? null : { name: port.device.name, ...port.device.statistics, ...port.statistics };
}

/** The kernel's number of this thread: its CPU time is read from `/proc/self/task`. */
function threadId(): number {
  try {
    return Number(readlinkSync('/proc/thread-self').split('/').at(-1));
  } catch {
    return 0; // no such file on this system: CPU time is not reported
  }
}

/** Sleeps in one `poll` on the TAP and an eventfd; wakes others by theirs. */
class TapWaker implements Waker {
  /** Who reads the TAP, once there is somebody. */
  port: TapPort | null = null;
  readonly handle: number;
  readonly wake: (handle: number) => void;
  private readonly waiter: Waiter;

  constructor(libc: Libc, descriptor: number) {
    this.wake = kicksBy(libc);
    this.waiter = new Waiter(libc, [descriptor]);
    this.handle = this.waiter.kickDescriptor;
  }

  sleep(timeoutMs: number): void {
    const { port } = this;
    // What waits there would end each sleep at once, while nobody can take it.
    if (port !== null && (port.stopped || port.device.failed)) this.waiter.ignore(0);
    else this.waiter.heed(0);
    this.waiter.wait(Math.ceil(timeoutMs));
  }

  close(): void {
    this.waiter.close();
  }
}

await main(workerData as WorkerOrder);
