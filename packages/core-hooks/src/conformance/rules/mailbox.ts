/** The mailbox: what the other half says is data, to be bounded before it is used; each message is answered. */
import { MAILBOX_PAYLOAD_BYTES } from '../../mailbox.js';
import { Docs } from '../docs.js';
import type { MailEnd, Message } from '../host/mailbox.js';
import type { Vif } from '../host/vif.js';
import type { Lab } from '../lab.js';
import type { Rule } from '../rule.js';
import { inWords } from './life.js';

const ANSWER_MS = 900;
const ROUNDS = 40;
const flow = { flow: 0xd1, targetPort: 8600 };

/** Bytes of a message: nothing but zeros, nothing but ones, or anything. */
function bytesOf(lab: Lab, length: number): Uint8Array {
  const how = lab.random(3);
  return Uint8Array.from({ length }, () => (how === 0 ? 0 : how === 1 ? 255 : lab.random(256)));
}

/** Another payload in the place of one: cut off, all ones, longer, or a byte or a few changed. */
function changed(lab: Lab, payload: Uint8Array, how: number): Uint8Array {
  if (how === 0) return payload.slice(0, lab.random(payload.length + 1));
  if (how === 1) return payload.slice().fill(0xff);
  if (how === 2) return bytesOf(lab, Math.min(payload.length + 1 + lab.random(20), MAILBOX_PAYLOAD_BYTES));
  const copy = payload.slice();
  for (let n = 1 + lab.random(3); n > 0 && copy.length > 0; n--)
    copy[lab.random(copy.length)] = [0, 1, 0x7f, 0xff, lab.random(256)][lab.random(5)]!;
  return copy;
}

/** Attaches with one half lying, lets some traffic through, and takes it off: what is left, and what went wrong. */
async function withLiar(lab: Lab, lie: (vif: Vif) => void): Promise<string | null> {
  const vif = lab.host().vif();
  lie(vif);
  if ((await vif.attach()) === null) {
    vif.host.arrive(lab.inward(vif, flow));
    vif.guest.transmit(lab.outward(vif, flow));
    await lab.steer(vif, flow, 3);
  }
  if (vif.device === null) vif.front.over = true;
  const { frontRemoved, backRemoved } = await vif.detach();
  if (!frontRemoved || !backRemoved) return 'it did not come to an end';
  const left = vif.host.left();
  await lab.end();
  return left.length === 0 ? null : inWords(left);
}

async function liars(lab: Lab, what: string, lie: (end: MailEnd, round: number) => void): Promise<void> {
  for (let round = 0; round < lab.times(ROUNDS); round++) {
    const side = round % 2 === 0 ? 'front' : 'back';
    const wrong = await withLiar(lab, (vif) => lie(vif.mail[side], round >> 1));
    lab.expect(wrong === null, () => ({
      expected: `when the ${side} half's messages come ${what}, the other refuses, and all is given back in the end`,
      seen: `round ${round} of seed ${lab.seed}: ${wrong!}`,
      todo: 'bound each field before use, and hold nothing for a message that is refused',
    }));
  }
}

export const mailboxRules: readonly Rule[] = [
  {
    id: 'mailbox.answers',
    title: `answers messages of every type and length, 0 to ${MAILBOX_PAYLOAD_BYTES} bytes`,
    docs: Docs.back,
    needs: ['life.attaches'],
    check: async (lab) => {
      for (const side of ['front', 'back'] as const) {
        const vif = await lab.attached();
        const liar = vif.mail[side === 'front' ? 'back' : 'front'];
        for (const type of [...vif.mail[side].types, 255]) {
          const waiting = new Map<number, Promise<unknown>>();
          for (let length = 0; length <= MAILBOX_PAYLOAD_BYTES; length += length < 16 ? 1 : 7) {
            const answer = liar.request(type, bytesOf(lab, length), ANSWER_MS);
            answer.catch(() => undefined); // looked at below, if it comes to that
            waiting.set(length, answer);
          }
          for (const [length, answer] of waiting) {
            const outcome = await vif.host.within(answer, 2 * ANSWER_MS);
            const silent = outcome === null || (!outcome.ok && outcome.reason.startsWith('no answer'));
            // What it says it cannot do any more, it need not answer either.
            if (vif[side].failures.length > 0) break;
            lab.expect(!silent, () => ({
              expected: `the ${side} half answers each message within ${ANSWER_MS} ms, if only with a refusal`,
              seen: `message ${type} of ${length} bytes was not answered`,
              todo: 'refuse what cannot be; a handler that never resolves holds up every message behind it',
            }));
          }
        }
      }
    },
  },
  {
    id: 'mailbox.goes-on',
    title: 'goes on after nonsense from the other half, or says that it cannot',
    docs: Docs.front,
    needs: ['transmit.sends', 'mailbox.answers'],
    check: async (lab) => {
      const vif = await lab.sending();
      for (const type of vif.mail.front.types)
        for (const length of [0, 3, 13, 64]) {
          await vif.host.within(
            vif.mail.back.request(type, new Uint8Array(length).fill(0xff), ANSWER_MS),
            2 * ANSWER_MS,
          );
        }
      const said = vif.front.failures.length > 0;
      const goesOn = said || (await lab.warm(vif));
      lab.expect(goesOn, () => ({
        expected: 'a few messages that cannot be are refused, and the device works; or failed() says why not',
        seen: 'it sends nothing any more, and says nothing',
        todo: 'change state only for messages that were judged good; call failed() when it cannot go on',
      }));
    },
  },
  {
    id: 'mailbox.fields',
    title: `bounds every field of what the other half sends: ${ROUNDS} liars`,
    docs: Docs.back,
    needs: ['life.attaches', 'life.failed-probe'],
    check: async (lab) => {
      await liars(lab, 'with changed bytes', (end, round) => {
        const how = round % 5;
        const at = lab.random(4);
        if (how === 4)
          end.tamperReply = (payload) =>
            lab.random(3) === 0 ? changed(lab, payload, lab.random(4)) : payload;
        else
          end.tamper = (message, n) =>
            n === at || lab.random(8) === 0
              ? { type: message.type, payload: changed(lab, message.payload, how) }
              : message;
      });
    },
  },
  {
    id: 'mailbox.order',
    title: `takes messages in their order only: ${ROUNDS} liars`,
    docs: Docs.back,
    needs: ['life.attaches', 'life.failed-probe'],
    check: async (lab) => {
      await liars(lab, 'out of order, and again', (end, round) => {
        const past: Message[] = [];
        const any = (): Message => past[lab.random(past.length)]!;
        end.tamper = (message) => {
          past.push(message);
          // Each once more behind the first, at least; in the other rounds some of before, or one of those instead.
          queueMicrotask(() => end.add(round % 2 === 0 ? message : any()));
          return round % 2 === 1 && lab.random(4) === 0 ? any() : message;
        };
      });
    },
  },
];
