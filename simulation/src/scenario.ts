/**
 * What happens in one simulated run, drawn from its seed before it begins: the lab's shape, the traffic, the faults
 * of the machine, and what is done to whom at which step. Plain data, so that a failing run can be printed, cut down
 * and run again.
 */
import { Random, faultNames } from '@netaccel/xen/sim';
import type { EventChannelForm, FaultRates } from '@netaccel/xen/sim';
import type { WireFaults } from '@netaccel/nic-vi/model';

/** The two sides of a lab: each is a host, and the guest that begins there. */
export const SIDES = [0, 1] as const;
/** One of {@link SIDES}. */
export type Side = (typeof SIDES)[number];

/** Something done to a lab. */
export type Action =
  /** The backend plugin is loaded, or unloaded. */
  | { readonly do: 'load' | 'unload'; readonly side: Side }
  /** The toolstack allows the fast path to the guest's vif, or forbids it. */
  | { readonly do: 'allow' | 'forbid'; readonly side: Side }
  /** The guest suspends its device and resumes it. */
  | { readonly do: 'suspend'; readonly side: Side }
  /** The guest moves to the other host, with its flows. */
  | { readonly do: 'migrate'; readonly side: Side }
  /** A domain dies, and boots again some steps later. */
  | { readonly do: 'killGuest' | 'killDriver'; readonly side: Side; readonly forSteps: number }
  /** A domain does not run for some steps. */
  | { readonly do: 'pauseGuest' | 'pauseDriver'; readonly side: Side; readonly forSteps: number }
  /** A host's driver domain hangs, and nobody sends, for so long that whoever waits for it gives up. */
  | { readonly do: 'hang'; readonly side: Side; readonly ms: number; readonly suspend: boolean }
  /** The NIC is reset. */
  | { readonly do: 'resetNic'; readonly side: Side }
  /** The cable is out for some steps. */
  | { readonly do: 'unplug'; readonly forSteps: number }
  /** A guest asks for other room before received data. */
  | { readonly do: 'headroom'; readonly side: Side; readonly bytes: number }
  /** A guest wants the first so many groups, or all that there are. */
  | { readonly do: 'groups'; readonly side: Side; readonly groups: number | null }
  /** The toolstack allows a guest another payload. */
  | { readonly do: 'mtu'; readonly side: Side; readonly mtu: number }
  /** A hook of the guests' plugin throws at its next call, whichever guest's that is. */
  | { readonly do: 'throw'; readonly hook: ThrowingHook }
  /** Nobody sends for so long, in virtual milliseconds: time-outs pass. */
  | { readonly do: 'quiet'; readonly ms: number };

/** Hooks of a plugin that can be made to throw. */
export const throwingHooks = ['startTransmit', 'poll', 'startInterrupts', 'statistics', 'quiesce'] as const;
/** One of {@link throwingHooks}. */
export type ThrowingHook = (typeof throwingHooks)[number];

/** An action and when it is done, in steps after the lab was connected. */
export type Timed = { readonly step: number } & Action;

/** How often, in percent of the frames that it is offered, a plugin does not take one. */
export interface Mood {
  /** It declines: the frame goes slow. */
  readonly declines: number;
  /** It has no room, and says later that it has. */
  readonly busy: number;
  /** What it takes stays in its queue for a while, as in hardware that has other things to do. */
  readonly lazy: boolean;
}

/** What both guests ask of their backends, beyond what every guest does. */
export interface Wishes {
  /** Pages are to stay mapped. */
  readonly staticGrants: boolean;
  /** Frames are to be hashed, by a key of the seed's. */
  readonly hash: boolean;
  /** Bytes before received data. */
  readonly headroom: number;
  /** Groups, the first so many; null: all that there are. */
  readonly groups: number | null;
  /** Whether guests trust their backends: pages are shared, and not bounced. */
  readonly trusted: boolean;
}

/** The event channels that kernels ask for. */
export interface SideChannels {
  readonly driver: EventChannelForm;
  readonly guest: EventChannelForm;
}

/** One run. */
export interface Scenario {
  /** The seed. */
  readonly seed: number;
  /** Queues that guests ask for. */
  readonly queues: number;
  /** Flows of each direction. */
  readonly flows: number;
  /** Of these, how many are to a group address: the first ones. */
  readonly groupFlows: number;
  /** What the guests ask for. */
  readonly wishes: Wishes;
  /** The event channels of each side's domains. */
  readonly eventChannels: readonly [SideChannels, SideChannels];
  /** Filters that a vif may have: often fewer than there are flows. */
  readonly filters: number;
  /** Microseconds that a frame is on the wire. */
  readonly delayUs: number;
  /** What the wire carries; 0: all that comes, at once. */
  readonly bitsPerSecond: number;
  /** Whether the lab is taken down in the middle of traffic. */
  readonly abrupt: boolean;
  /** Whether NIC ports join TCP segments. */
  readonly merging: boolean;
  /** What the guests' plugin is like. */
  readonly mood: Mood;
  /** Where ring indices begin. */
  readonly firstIndex: number;
  /** What the wire does to frames. */
  readonly wire: WireFaults;
  /** What the machine does amiss. */
  readonly rates: FaultRates;
  /** Steps with traffic and actions. */
  readonly steps: number;
  /** What is done. */
  readonly actions: readonly Timed[];
}

/** What a guest or its toolstack changes while the device is connected. */
type Changed = 'headroom' | 'groups' | 'mtu';
/** What is drawn from one list; moves, hangs and changes are drawn apart. */
type Drawn = Exclude<Action['do'], 'migrate' | 'hang' | Changed>;

const kinds: readonly Drawn[] = [
  'load',
  'load',
  'load',
  'unload',
  'unload',
  'allow',
  'forbid',
  'suspend',
  'killGuest',
  'killDriver',
  'pauseGuest',
  'pauseDriver',
  'resetNic',
  'unplug',
  'throw',
  'quiet',
];
/** What a run without faults may contain: whatever an operator does on a good day. */
const peaceful: readonly Drawn[] = ['load', 'load', 'unload', 'allow', 'forbid', 'suspend', 'quiet'];
const changes: readonly Changed[] = ['headroom', 'groups', 'mtu'];
/** Nothing, a little, and more than the protocol has. */
const HEADROOMS = [0, 64, 256, 5000] as const;
/** Groups that guests want; the last of them are more than a vif may have. */
const GROUPS = [null, 0, 1, 2, 4] as const;
/** Payloads that a toolstack allows; the last one is more than the lab's NICs carry. */
const MTUS = [576, 1280, 1500, 9000] as const;

/** Wires: as fast as you like, and some on which a frame takes a while. */
const RATES = [0, 0, 0, 2e9, 4e8] as const;

/** Hangs: one that nobody minds, one in which a suspend gives up, one in which everybody does. */
const HANGS_MS = [50, 1500, 7000] as const;
/** Plugins: one that takes all it can, and some that are like most hardware. */
const MOODS: readonly Mood[] = [
  { declines: 0, busy: 0, lazy: false },
  { declines: 0, busy: 5, lazy: true },
  { declines: 10, busy: 0, lazy: true },
  { declines: 30, busy: 10, lazy: false },
];

/** Draws a run. */
export function scenarioOf(seed: number, steps: number): Scenario {
  const random = new Random(seed ^ 0x5ce7_a110);
  const chance = (percent: number): boolean => random.below(100) < percent;
  // Three kinds of run: nothing goes wrong; one kind of thing does; anything may.
  const trouble = random.below(3);
  const rates: FaultRates = {};
  const names =
    trouble === 0 ? [] : trouble === 1 ? [faultNames[random.below(faultNames.length)]!] : faultNames;
  for (const name of names)
    if (trouble === 1 || chance(30))
      Object.assign(rates, { [name]: rateOf(name) * (0.2 + random.below(100) / 60) });
  const wire: WireFaults =
    trouble === 2 && chance(40)
      ? {
          drop: random.below(30) / 1000,
          corrupt: random.below(30) / 1000,
          duplicate: random.below(30) / 1000,
          seed,
        }
      : {};
  const actions: Timed[] = [];
  if (chance(85))
    for (const side of SIDES) if (chance(90)) actions.push({ step: random.below(60), do: 'load', side });
  for (let n = random.below(trouble === 0 ? 6 : 9); n > 0; n--)
    actions.push({ step: random.below(steps), ...draw(random, trouble === 0 ? peaceful : kinds) });
  // Drawn apart: the rest of a seed stays what it was.
  const more = new Random(seed ^ 0x3a0f_e551);
  if (more.below(5) < 2)
    for (let n = 1 + more.below(4); n > 0; n--)
      actions.push({ step: more.below(steps), do: 'migrate', side: SIDES[more.below(2)]! });
  const bitsPerSecond = RATES[more.below(RATES.length)]!;
  const mood = MOODS[more.below(MOODS.length)]!;
  const abrupt = more.below(3) === 0;
  if (more.below(6) === 0)
    actions.push({
      step: more.below(steps),
      do: 'hang',
      side: SIDES[more.below(2)]!,
      ms: HANGS_MS[more.below(HANGS_MS.length)]!,
      suspend: more.below(2) === 0,
    });
  const wishes = wish(new Random(seed ^ 0x71e5_0f3a), steps, actions);
  const kernels = new Random(seed ^ 0x0f1f_0c4e);
  const form = (): EventChannelForm => (kernels.below(2) === 0 ? '2-level' : 'fifo');
  const side = (): SideChannels => ({ driver: form(), guest: form() });
  actions.sort((a, b) => a.step - b.step);
  return {
    seed,
    ...wishes,
    eventChannels: [side(), side()],
    queues: chance(25) ? 2 : 1,
    flows: 1 + random.below(5),
    filters: 1 + random.below(5),
    delayUs: chance(50) ? 0 : 1 + random.below(40),
    bitsPerSecond,
    abrupt,
    mood,
    merging: chance(50),
    firstIndex: chance(80) ? 0xffff_ff80 : 0,
    wire,
    rates,
    steps,
    actions,
  };
}

const calm: ReadonlySet<string> = new Set([...peaceful, ...changes, 'migrate']);

/** Whether nothing goes wrong in a run: then every counter is exact. */
export function isCalm({ rates, wire, actions }: Scenario): boolean {
  return (
    Object.keys(rates).length === 0 &&
    Object.keys(wire).length === 0 &&
    actions.every(({ do: what }) => calm.has(what))
  );
}

/** Draws what guests ask for, and adds what is changed on the way. */
function wish(random: Random, steps: number, actions: Timed[]): Pick<Scenario, 'wishes' | 'groupFlows'> {
  const chance = (percent: number): boolean => random.below(100) < percent;
  const bytes = (): number => HEADROOMS[random.below(HEADROOMS.length)]!;
  const groups = (): number | null => GROUPS[random.below(GROUPS.length)]!;
  const wishes: Wishes = {
    staticGrants: chance(30),
    hash: chance(25),
    headroom: chance(30) ? bytes() : 0,
    groups: chance(30) ? groups() : null,
    trusted: chance(85),
  };
  if (chance(40))
    for (let n = 1 + random.below(3); n > 0; n--) {
      const at = { step: random.below(steps), side: SIDES[random.below(2)]! };
      const what = changes[random.below(changes.length)]!;
      if (what === 'headroom') actions.push({ ...at, do: what, bytes: bytes() });
      else if (what === 'groups') actions.push({ ...at, do: what, groups: groups() });
      else actions.push({ ...at, do: what, mtu: MTUS[random.below(MTUS.length)]! });
    }
  return { wishes, groupFlows: chance(40) ? 1 + random.below(3) : 0 };
}

/** Common things often, what ends a whole attempt seldom. */
function rateOf(name: (typeof faultNames)[number]): number {
  return name === 'eventLate' || name === 'eventTwice' ? 0.1 : name === 'storeLate' ? 0.03 : 0.004;
}

function draw(random: Random, from: readonly Drawn[]): Action {
  const side = SIDES[random.below(2)]!;
  const what = from[random.below(from.length)]!;
  const forSteps = 1 + random.below(300);
  switch (what) {
    case 'quiet':
      return { do: what, ms: 10 ** random.below(5) };
    case 'unplug':
      return { do: what, forSteps };
    case 'throw':
      return { do: what, hook: throwingHooks[random.below(throwingHooks.length)]! };
    case 'killGuest':
    case 'killDriver':
    case 'pauseGuest':
    case 'pauseDriver':
      return { do: what, side, forSteps };
    default:
      return { do: what, side };
  }
}
