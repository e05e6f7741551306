// Ways to break the good plugin at one place: its hooks, the services that it is handed, its back half, its card.
import type { ConformanceSubject } from '../../src/conformance/index.js';
import { Verdict } from '../../src/index.js';
import type {
  BackendAccelerator,
  BackendServices,
  Frame,
  FrontendAccelerator,
  FrontendAcceleratorDefinition,
  FrontendServices,
} from '../../src/index.js';
import { back } from './memory-back.js';
import { MemoryCard } from './memory-card.js';
import type { CardDevice, Job } from './memory-card.js';
import { front } from './memory-front.js';
import { subject } from './memory-plugin.js';

/** A device with some hooks in another's place; those that are left out are the good ones. */
export type Hooks = Partial<FrontendAccelerator>;

/** Changes what `newDevice` makes. */
export function hooks(
  change: (good: FrontendAccelerator, services: FrontendServices) => Hooks,
): ConformanceSubject {
  return subject({
    frontend: {
      ...front,
      newDevice: async (services) => {
        const good = await front.newDevice(services);
        return over(good, change(good, services));
      },
    },
  });
}

/** Changes what the front half is handed. */
export function services(change: (good: FrontendServices) => Partial<FrontendServices>): ConformanceSubject {
  return subject({
    frontend: { ...front, newDevice: (good) => front.newDevice({ ...good, ...change(good) }) },
  });
}

/** Changes what `probe` makes. */
export function backHooks(
  change: (good: BackendAccelerator, services: BackendServices) => Partial<BackendAccelerator>,
): ConformanceSubject {
  return subject({
    backend: {
      ...back,
      probe: async (given) => {
        const good = await back.probe(given);
        return over(good, change(good, given));
      },
    },
  });
}

/** Changes what the back half is handed. */
export function backServices(
  change: (good: BackendServices) => Partial<BackendServices>,
): ConformanceSubject {
  return subject({ backend: { ...back, probe: (good) => back.probe({ ...good, ...change(good) }) } });
}

/** Changes the verbs of the card that the back half drives. */
export function card(
  change: (good: CardDevice, bench: MemoryCard) => Partial<CardDevice>,
): ConformanceSubject {
  return subject({
    bench: (machine) => {
      const bench = new MemoryCard(machine);
      const good = { ...bench.device };
      Object.assign(bench.device, change(good, bench));
      return bench;
    },
  });
}

/** An object with some of another's functions changed; getters and state stay the good one's. */
function over<T extends object>(good: T, change: Partial<T>): T {
  return new Proxy(good, {
    get: (target, name) => {
      if (name in change) return change[name as keyof T];
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? (value as () => unknown).bind(target) : value;
    },
  });
}

/** Changes the bench itself. */
export function bench(change: (good: MemoryCard) => Partial<MemoryCard>): ConformanceSubject {
  return subject({
    bench: (machine) => {
      const made = new MemoryCard(machine);
      const good = { arrive: made.arrive.bind(made), holdTransmit: made.holdTransmit.bind(made) };
      return Object.assign(made, change(Object.assign(Object.create(made) as MemoryCard, good)));
    },
  });
}

/** A card whose frames are posted in another way. */
export const posting = (change: (job: Job) => Job) => () =>
  card(({ transmit }) => ({ transmit: (session, job) => transmit(session, change(job)) }));

/** Whether it is IPv4 without a tag. */
export const isIpv4 = (bytes: Uint8Array): boolean => bytes[12] === 8 && bytes[13] === 0;

/** A broken plugin. */
export interface Broken {
  /** What it does. */
  readonly fault: string;
  /** The rule that it breaks. */
  readonly rule: string;
  readonly make: () => ConformanceSubject;
}

/** Flow and serial of an untagged UDP or TCP frame over IPv4. */
export function tag(bytes: Uint8Array): { flow: number; serial: number } {
  if (bytes.length < 50 || bytes[12] !== 8 || bytes[14] !== 0x45) return { flow: -1, serial: -1 };
  const at = bytes[23] === 6 ? 54 : 42;
  if (bytes.length < at + 8) return { flow: -1, serial: -1 };
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return { flow: view.getUint32(at), serial: view.getUint32(at + 4) };
}

/** The bytes of a frame in one piece. */
export function bytesOf(services: FrontendServices, frame: Frame): Uint8Array {
  const bytes: number[] = [];
  for (let f: Frame | null = frame; f !== null; f = f.next)
    bytes.push(...services.memory.bytes.subarray(f.address, f.address + f.length));
  return Uint8Array.from(bytes);
}

/** A plugin that sends frames past its own judgement: those that `when` picks, as `as` makes them. */
export function sneaking(
  when: (bytes: Uint8Array, card: MemoryCard) => boolean,
  as: (bytes: Uint8Array) => Uint8Array = (bytes) => bytes,
  definition: Partial<FrontendAcceleratorDefinition> = {},
): ConformanceSubject {
  let card: MemoryCard;
  const made = hooks((good, services) => {
    const done: Frame[] = [];
    let frames = 0;
    return {
      statistics: (into) => {
        good.statistics(into);
        into.txFrames += frames;
      },
      startTransmit: (frame, more) => {
        const bytes = bytesOf(services, frame);
        if (!when(bytes, card)) return good.startTransmit(frame, more);
        card.inject(as(bytes));
        done.push(frame);
        frames++;
        services.schedulePoll();
        return Verdict.sent;
      },
      poll: (budget) => {
        let work = 0;
        for (; work < budget && done.length > 0; work++) services.completed(done.shift()!);
        return work + good.poll(budget - work);
      },
    };
  });
  return {
    ...made,
    frontend: { ...made.frontend, ...definition },
    bench: (machine) => (card = new MemoryCard(machine)),
  };
}
