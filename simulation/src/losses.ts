/**
 * Every counter on the way that names a lost frame, over all that lived in a lab: a driver, a vif or a VI that is gone
 * keeps what it had counted. What arrives nowhere must be in here.
 */
import type { DriverDomain, NicPort, OneThreadLab } from '@netaccel/host';
import type { Netback } from '@netaccel/netback';
import type { Netfront } from '@netaccel/netfront';
import type { NicControl } from '@netaccel/nic-vi';

/** Counters of a netfront that name frames lost while it was sending them. */
const SENDING = ['txErrors', 'txDropped', 'txBadLength', 'txUnsupported', 'txUnanswered'] as const;
/** And those that it lost otherwise. */
const NETFRONT = [
  'rxErrors',
  'rxMalformed',
  'rxBadExtra',
  'rxBadLength',
  'rxNoBuffer',
  'rxUnread',
  'fastTakenBack',
  'fastOverrun',
] as const;
const NIC_PORT = ['txBacklogFull', 'txUnsendable', 'txReset'] as const;
const VI = [
  'txNoLink',
  'txSpoofed',
  'txErrors',
  'rxNoDescriptor',
  'rxNoEventSpace',
  'rxRights',
  'rxChanged',
] as const;
// A port's `txNoLink` is the sum of its VIs'.
const PORT = ['rxUnmatched', 'rxTooShort', 'rxNoVi', 'rxTooLong', 'rxAbandoned'] as const;
const VIF_PORT = ['holdFull', 'holdGroup', 'holdAbandoned', 'unplugged'] as const;
const WIRE = ['tooLong', 'changed', 'dropped', 'corrupted'] as const;

/** Glances for each look. */
const GLANCES = 8;

type Record_ = Readonly<Record<string, unknown>>;

/** The loss counters of one lab. */
export class Losses {
  /** By the guest's number. */
  private readonly fronts: readonly Set<Netfront>[];
  private readonly vifs = new Set<Netback>();
  private readonly ports = new Set<NicPort>();
  /** Totals of VIs that are gone. */
  private readonly past = new Map<string, number>();
  private readonly live = new Map<NicControl, Set<number>>();
  private glances = 0;

  /** @param guests names of the guests, by number. */
  constructor(
    private readonly lab: OneThreadLab,
    private readonly guests: readonly string[],
  ) {
    this.fronts = guests.map(() => new Set());
    for (const name of lab.hosts.keys())
      for (const { control } of lab.hardware.portsOf(name)) this.follow(control);
    this.look();
  }

  /** Called at each turn: looks at some of them. A device takes many more to come up, carry a frame and go. */
  glance(): void {
    if (this.glances++ % GLANCES === 0) this.look();
  }

  /** Notes who lives now: called often enough that nobody comes and goes unseen. */
  look(): void {
    for (const { driver, guests } of this.lab.hosts.values()) {
      this.see(driver);
      for (const [name, { guest }] of guests) this.fronts[this.guests.indexOf(name)]!.add(guest.netfront);
    }
  }

  /** The NIC of a host is about to be reset: what its VIs counted is kept. */
  beforeReset(host: string): void {
    for (const { control } of this.lab.hardware.portsOf(host)) {
      for (const id of this.live.get(control)!) this.keep(control, id);
      this.live.get(control)!.clear();
    }
  }

  /** Frames lost by each guest's driver while it was sending them, and by everybody else. */
  totals(): { sending: number[]; outside: number } {
    this.look();
    const sum = (counted: ReadonlyMap<string, number>): number =>
      [...counted.values()].reduce((a, b) => a + b, 0);
    return { sending: this.fronts.map((fronts) => sum(sendingOf(fronts))), outside: sum(this.outside()) };
  }

  /** All that is not zero, by name. */
  counted(): Map<string, number> {
    this.look();
    const all = this.outside();
    for (const fronts of this.fronts) for (const [name, n] of sendingOf(fronts)) addTo(all, name, n);
    return all;
  }

  /** What drivers count of frames that they sent is not in here, nor what netback counts: it answers with an error. */
  private outside(): Map<string, number> {
    const all = new Map(this.past);
    for (const front of this.fronts.flatMap((fronts) => [...fronts])) {
      const { counters, accelerated } = front.statistics();
      add(all, 'netfront', { ...counters }, NETFRONT);
      add(all, 'plugin', { ...accelerated }, ['rxErrors']);
    }
    for (const vif of this.vifs) {
      const { rxDropped } = vif.statistics();
      add(all, 'netback rx', rxDropped, Object.keys(rxDropped));
    }
    for (const port of this.ports) add(all, 'nic driver', { ...port.statistics }, NIC_PORT);
    for (const [control, ids] of this.live) {
      add(all, 'nic port', { ...control.portStatistics() }, PORT);
      for (const id of ids) add(all, 'vi', { ...control.viStatistics(id) }, VI);
    }
    for (const wire of this.lab.hardware.wires)
      for (const direction of [0, 1] as const) add(all, 'wire', { ...wire.statistics(direction) }, WIRE);
    for (const { driver } of this.lab.hosts.values()) {
      const { ports } = driver.bridge.describe();
      for (const port of ports) add(all, 'bridge', { ...port }, ['filtered', 'runt', 'nowhere']);
      for (const port of [...driver.desk.describe(), { ...driver.desk.former }])
        add(all, 'vif port', port, VIF_PORT);
    }
    return all;
  }

  private see(driver: DriverDomain): void {
    for (const vif of driver.driver.vifs()) this.vifs.add(vif);
    for (const port of driver.ports.values()) this.ports.add(port);
  }

  /** A NIC's control interface tells us of VIs that come and go. */
  private follow(control: NicControl): void {
    const ids = new Set<number>();
    this.live.set(control, ids);
    const allocateVi = control.allocateVi.bind(control);
    const freeVi = control.freeVi.bind(control);
    control.allocateVi = (request) => {
      const id = allocateVi(request);
      ids.add(id);
      return id;
    };
    control.freeVi = (id) => {
      if (ids.delete(id)) this.keep(control, id);
      freeVi(id);
    };
    // Those that were there before.
    for (const port of [...this.lab.hosts.values()].flatMap(({ driver }) => [...driver.ports.values()]))
      if (port.device === control) ids.add(port.describe()['viId'] as number);
  }

  private keep(control: NicControl, id: number): void {
    add(this.past, 'vi', { ...control.viStatistics(id) }, VI);
  }
}

function sendingOf(fronts: ReadonlySet<Netfront>): Map<string, number> {
  const all = new Map<string, number>();
  for (const front of fronts) add(all, 'netfront', { ...front.statistics().counters }, SENDING);
  return all;
}

function add(all: Map<string, number>, where: string, counters: Record_, names: readonly string[]): void {
  for (const name of names) {
    const n = counters[name];
    if (typeof n === 'number' && n > 0) addTo(all, `${where} ${name}`, n);
  }
}

function addTo(all: Map<string, number>, name: string, n: number): void {
  all.set(name, (all.get(name) ?? 0) + n);
}
