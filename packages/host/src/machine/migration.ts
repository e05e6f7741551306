/**
 * Moves a guest between two hosts of a lab, with its connections open: the order of the steps, which is what keeps
 * frames from being lost, doubled or overtaken. The same for both kinds of lab; each says how its steps are taken.
 *
 *     hold      frames for the guest wait at its old host from here on
 *     suspend   the guest sends what it took, its plugin goes, what the old host had for it is delivered, rings end
 *     warn      plugins of every host take its address off the fast path: bridges alone carry frames for it
 *     move      its vif goes from the old host's store; the guest gets a number and a store connection on the new host
 *     expect    the new host has a port for it, held, and announces its address: bridges and plugins learn it, and the
 *               old host answers with a farewell
 *     resume    as soon as that has come: its vif is made, the guest reconnects and reads the new host's keys
 *     open      once more announced and answered, nothing comes to the old host any more: what waited there is delivered
 *               first, then what waited at the new one, then the port is open
 *
 * An announcement that a busy wire lost, or its answer, is made again.
 *
 * What is guaranteed. A frame that was sent to the guest through bridges, before the first announcement reached the
 * sender's bridge, arrives at the old host before the announcement does, as links keep order; every later one goes to
 * the new host. So none is lost while the holds have room (`holdFull` counts), none comes twice, and none overtakes an
 * earlier one. A plugin that does not heed the warning in time may go on to send across the wire: its frames may be
 * overtaken, and what it sends after the second announcement is lost (`filtered` at the old host's bridge). A flow that
 * uses both of its paths at that moment may find its frames by the old host overtaken, too. A guest that cannot connect
 * on the new host goes back the same way. Group frames come to both hosts, and none comes to the guest twice: the old
 * host keeps those from before its farewell, the new one those behind it, and what the new one gets while the farewell
 * is on its way is not kept (`holdGroup`).
 */
import type { DomainId } from '@netaccel/xen';
import type { DeskCalls } from './vif-desk.js';

/** How long an announcement and its answer may take; hosts that share no wire wait for so long in vain. */
const ANNOUNCE_MS = 500;
/** No answer for so long: one of both was lost, as any frame may be on a busy wire, and the next one follows. */
const ANNOUNCE_AGAIN_MS = 50;
/** How long the guest may take to be connected on the new host. */
const RESUME_MS = 8000;

/** Why a guest was not moved. It is where it was, and runs. */
export type MigrationCode =
  'NO_GUEST' | 'NO_HOST' | 'SAME_HOST' | 'NAME_TAKEN' | 'NO_ROOM' | 'UNDER_WAY' | 'FAILED';

/** A guest was not moved. */
export class MigrationError extends Error {
  /**
   * @param code why.
   * @param message what was expected, what was seen, what to do.
   */
  constructor(
    readonly code: MigrationCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = 'MigrationError';
  }
}

/** What a migration did. */
export interface MigrationReport {
  readonly guest: string;
  readonly from: string;
  readonly to: string;
  /** Milliseconds from when the guest took no more frames until frames flowed on the new host. */
  readonly pauseMs: number;
  /** Frames that waited at the old host and were delivered after the move. */
  readonly carried: number;
  /** Frames lost on the way, by reason; of group frames the most that it can have been. */
  readonly lost: Readonly<Record<'holdFull' | 'holdGroup' | 'txUnanswered', number>>;
  /** Whether the old host answered both announcements in time: else nothing is promised about order. */
  readonly announced: boolean;
}

/** A host, as a migration drives it. */
export interface MigrationHost {
  readonly name: string;
  /** Its driver domain's vif ports. */
  readonly desk: DeskCalls;
  /** Makes the moved guest's vif in this host's store. */
  createVif(id: DomainId): Promise<void>;
  /** Removes it, and the guest's own directory; resolves when the host's netback has let go of it. */
  removeVif(id: DomainId): Promise<void>;
}

/** A guest, as a migration drives it. */
export interface MigrationGuest {
  readonly name: string;
  readonly mac: Uint8Array;
  /** The host that it is on now, and its number there. */
  readonly host: string;
  readonly id: DomainId;
  /** Answers how many frames it took and could not send. */
  suspend(): Promise<number>;
  /** Gives it a number on another host; answers that. */
  move(to: MigrationHost): Promise<DomainId>;
  /** Resolves when frames flow. */
  resume(timeoutMs: number): Promise<void>;
}

/** Microseconds or milliseconds do not matter here: any clock that runs on. */
export interface MigrationClock {
  /** Milliseconds. */
  now(): number;
}

/**
 * Moves it. On failure the guest is back where it was, connected.
 * @param desks those of all hosts of the lab.
 * @throws MigrationError `FAILED`.
 */
export async function migrateGuest(
  guest: MigrationGuest,
  from: MigrationHost,
  to: MigrationHost,
  desks: readonly DeskCalls[],
  clock: MigrationClock,
): Promise<MigrationReport> {
  const oldId = guest.id;
  await from.desk.hold(oldId, guest.mac, true);
  const pausedAt = clock.now();
  let txUnanswered: number;
  let plugged = true;
  let announced: boolean;
  try {
    txUnanswered = await guest.suspend();
    await Promise.all(desks.map((desk) => desk.warn(guest.mac)));
    await from.removeVif(oldId);
    plugged = false;
    announced = await arrive(guest, to);
  } catch (error) {
    const why = messageOf(error);
    const back = await goBack(guest, from, to, plugged).then(
      () => `is back on ${from.name}`,
      (second: unknown) => `could not go back to ${from.name} either (${messageOf(second)})`,
    );
    throw new MigrationError('FAILED', `${guest.name} could not go on on ${to.name} and ${back}: ${why}`, {
      cause: error,
    });
  }
  const { frames, statistics } = await from.desk.leave(guest.mac);
  const opened = await to.desk.open(guest.id, frames);
  return {
    guest: guest.name,
    from: from.name,
    to: to.name,
    pauseMs: clock.now() - pausedAt,
    carried: frames.length,
    lost: {
      holdFull: statistics.holdFull + opened.holdFull,
      // One that neither kept is in both counters, with those that the other one kept; on one bridge each, it is in one.
      holdGroup: (announced ? Math.min : Math.max)(statistics.holdGroup, opened.holdGroup),
      txUnanswered,
    },
    announced,
  };
}

/** The guest runs on the new host, behind a held port. Answers whether the old host has answered, twice. */
async function arrive(guest: MigrationGuest, to: MigrationHost): Promise<boolean> {
  const id = await guest.move(to);
  await to.desk.expect(id, guest.mac);
  const sent = await answered(guest, to, 1);
  await to.createVif(id);
  await guest.resume(RESUME_MS);
  await to.desk.announce(id, guest.mac);
  return sent !== null && (await answered(guest, to, sent + 1)) !== null;
}

/**
 * Waits until the old host has answered `sent` announcements, which is one of the last as links keep order; announces
 * again while it has not.
 * @returns how many were sent by then; null when time is up.
 */
async function answered(guest: MigrationGuest, to: MigrationHost, sent: number): Promise<number | null> {
  const expected = sent;
  for (let ms = 0; ms < ANNOUNCE_MS; ms += ANNOUNCE_AGAIN_MS) {
    if (await to.desk.answered(guest.id, expected, ANNOUNCE_AGAIN_MS)) return sent;
    await to.desk.announce(guest.id, guest.mac);
    sent++;
  }
  return null;
}

/**
 * The guest is connected on its old host again, and what waited for it is delivered, wherever that was. A guest that
 * cannot connect there either finds its way open, too, whenever somebody connects it.
 * @throws the first of what failed.
 */
async function goBack(
  guest: MigrationGuest,
  from: MigrationHost,
  to: MigrationHost,
  plugged: boolean,
): Promise<void> {
  const moved = guest.host !== from.name;
  const failed: unknown[] = [];
  const note = (error: unknown): void => void failed.push(error);
  await (moved ? returnTo(guest, from, to) : resumeOn(guest, from, plugged)).catch(note);
  const [here, there] = guest.host === from.name ? [from, to] : [to, from];
  await openFor(guest, here, moved ? there : null).catch(note);
  if (failed.length > 0) throw failed[0];
}

/** It had got to the new host: the same way again. What came there meanwhile waits there, and follows. */
async function returnTo(guest: MigrationGuest, from: MigrationHost, to: MigrationHost): Promise<void> {
  await to.desk.hold(guest.id, guest.mac, true);
  await guest.suspend();
  await to.removeVif(guest.id);
  await arrive(guest, from);
}

/** It never left; its vif may have gone. */
async function resumeOn(guest: MigrationGuest, from: MigrationHost, plugged: boolean): Promise<void> {
  if (!plugged) {
    await from.desk.expect(guest.id, guest.mac);
    await from.createVif(guest.id);
  }
  await guest.resume(RESUME_MS);
}

/** Opens its port where it is; what waits where it is not any more is delivered there first. */
async function openFor(
  guest: MigrationGuest,
  here: MigrationHost,
  there: MigrationHost | null,
): Promise<void> {
  const { frames } = there === null ? { frames: [] } : await there.desk.leave(guest.mac);
  await here.desk.open(guest.id, frames);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
