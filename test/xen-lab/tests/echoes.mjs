// Echo requests of which none may be lost and none may be answered twice, as the sender's kernel counts them. Ping's own
// count will not do: for the last answers it waits twice the longest round trip, which a busy machine exceeds.
import { expect, until } from './dom0.mjs';

/** Seconds within which the last answer comes. */
const PATIENCE = 60;

/** What `/proc/net/snmp` says: echo requests sent and answers received since the kernel booted. */
function counts(text) {
  const [names, values] = text
    .split('\n')
    .filter((line) => line.startsWith('Icmp:'))
    .map((line) => line.split(' '));
  const value = (name) => Number(values[names.indexOf(name)]);
  return { sent: value('OutEchos'), answered: value('InEchoReps') };
}

/**
 * `read` answers `/proc/net/snmp` of who sends, `send` has it send and answers what the table says besides. `enough`:
 * how many it sends at least.
 */
export async function allAnswered(read, enough, send) {
  const before = counts(await read());
  const said = await send();
  let sent, answered;
  await until(
    'the last answer',
    async () => {
      const now = counts(await read());
      [sent, answered] = [now.sent - before.sent, now.answered - before.answered];
      return answered >= sent;
    },
    PATIENCE,
  ).catch(() => undefined);
  expect('answers', answered, sent);
  if (sent < enough) throw new Error(`expected at least ${enough} echo requests, saw ${sent}`);
  return `${sent} sent, 0 lost${said === undefined ? '' : `, ${said}`}`;
}

/** A guest sends `count` as fast as they are answered. */
export function flood(guest, address, count, size = 56) {
  return allAnswered(
    () => guest.exec('cat /proc/net/snmp'),
    count,
    async () => {
      const text = await guest.exec(`/bin/ping -q -f -c ${count} -s ${size} ${address} || true`);
      return `${/= [\d.]+\/([\d.]+)\//.exec(text)?.[1]} ms each`;
    },
  );
}
