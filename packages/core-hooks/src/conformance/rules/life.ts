/** The life cycle: both load orders, once more, two at a time, and an end at any moment. */
import { CONTRACT_VERSION, OLDEST_CONTRACT } from '../../contract.js';
import { capabilityKinds } from '../../capabilities.js';
import type { Capabilities } from '../../capabilities.js';
import { Docs } from '../docs.js';
import { HELD_KINDS } from '../host/half.js';
import { Deadline } from '../host/vif.js';
import type { Vif } from '../host/vif.js';
import { serials } from '../lab.js';
import type { Lab } from '../lab.js';
import type { Rule } from '../rule.js';

const INTERLEAVINGS = 2000;
const MOST_SERVICES = 400;

/** A plugin that leaks whatever happens is found by the rules of the ledger. */
const ledgerIds = [...HELD_KINDS, 'device', 'frames'].map((kind) => `ledger.${kind}`);

/** What is left, in one line. */
export function inWords(left: readonly { readonly what: string }[]): string {
  return left.map(({ what }) => what).join('; ');
}

/** Every release of a half that was given up belongs to it. */
const RELEASE = 'release each thing in the reverse order of acquiring it, on the way of failure as well';

export const lifeRules: readonly Rule[] = [
  {
    id: 'definition.declares',
    title: 'says what it is: name, version, contract, and capabilities that exist',
    docs: Docs.versions,
    check: async (lab) => {
      await Promise.resolve();
      for (const half of [lab.subject.frontend, lab.subject.backend]) judgeDefinition(lab, half);
      const { frontend, backend } = lab.subject;
      lab.expect(backend.frontend === frontend.name, () => ({
        expected: `the back half names its front half, ${frontend.name}`,
        seen: `it has guests load ${backend.frontend}`,
        todo: 'make `frontend` of the back half the npm name of the front half',
      }));
      const device = lab.host().bench.device;
      lab.expect(backend.supports(device), () => ({
        expected: 'the back half supports the device of its bench',
        seen: 'supports() answered false',
        todo: 'give the kit the bench of the device that the plugin is for, or mend supports()',
      }));
      lab.expect(!backend.supports({}) && !backend.supports(null), () => ({
        expected: 'a device of another kind is not supported',
        seen: 'supports() answered true for an empty object or null',
        todo: 'look for the mark of the kind in supports(), and answer false for anything else',
      }));
    },
  },
  {
    id: 'life.attaches',
    title: 'attaches: both halves are there within the deadline',
    docs: Docs.front,
    check: async (lab) => {
      const reason = await lab.host().vif().attach();
      lab.expect(reason === null, () => ({
        expected: `probe and newDevice resolve within ${Deadline.probeMs} ms`,
        seen: reason ?? '',
        todo: 'see what the halves wait for: a message that nobody handles is refused, one that is not answered times out',
      }));
    },
  },
  {
    id: 'life.load-order',
    title: 'attaches in either load order',
    docs: Docs.front,
    needs: ['life.attaches'],
    check: async (lab) => {
      const reason = await lab.host().vif().attach('back first');
      lab.expect(reason === null, () => ({
        expected: 'it attaches when the back half was there long before the front half',
        seen: reason ?? '',
        todo: 'wait for the other half in neither: let the front half ask, and the back half answer whenever it does',
      }));
    },
  },
  {
    id: 'life.again',
    title: 'attaches again to the same device after it was removed',
    docs: Docs.front,
    needs: ['life.attaches'],
    check: async (lab) => {
      const host = lab.host();
      for (let round = 1; round <= 3; round++) {
        const vif = host.vif();
        const reason = await vif.attach();
        lab.expect(reason === null, () => ({
          expected: 'a plugin that was removed can be attached again: suspend and resume, reload, migration',
          seen: `round ${round}: ${reason ?? ''}`,
          todo: 'keep nothing in module variables; what a device needs is made by newDevice and probe',
        }));
        await vif.detach();
        host.vifs.pop();
      }
    },
  },
  {
    id: 'life.two-devices',
    title: 'serves two devices at a time, each with its own frames',
    docs: Docs.front,
    needs: ['life.attaches', 'transmit.sends'],
    check: async (lab) => {
      const host = lab.host();
      const vifs = [host.vif(), host.vif()];
      for (const vif of vifs) await lab.attach(vif);
      for (const vif of vifs)
        lab.expect(await lab.warm(vif), () => ({
          expected: 'the second device sends as well as the first',
          seen: `device ${vif.number + 1} of two sends nothing`,
          todo: 'keep nothing in module variables; each device has a state of its own',
        }));
      vifs.forEach((vif, i) => vif.guest.transmit(lab.outward(vif, { flow: 70 + i, serial: i })));
      await host.run(20);
      const left = host.bench.takeSent();
      const bad = vifs.find((vif, i) => {
        const frame = left.find((bytes) => serials([bytes], 70 + i).length > 0);
        return frame !== undefined && !vif.identity.mac.every((byte, n) => frame[6 + n] === byte);
      });
      lab.expect(bad === undefined, () => ({
        expected: 'each frame leaves as its own guest sent it',
        seen: `a frame of device ${(bad?.number ?? 0) + 1} left with the other's address`,
        todo: 'keep nothing in module variables; each device has a state of its own',
      }));
      await vifs[0]!.detach();
      lab.expect(await lab.warm(vifs[1]!), () => ({
        expected: 'the second device goes on when the first is removed',
        seen: 'it sends nothing any more',
        todo: 'release in remove() what this device holds, and nothing that another uses',
      }));
    },
  },
  {
    id: 'life.remove-twice',
    title: 'may be told to remove twice',
    docs: Docs.front,
    needs: ['life.attaches'],
    check: async (lab) => {
      const vif = await lab.attached();
      const { device, accelerator } = vif;
      await vif.detach();
      vif.front.over = vif.back.over = false; // what a second remove asks for is not the question here
      for (const [name, half] of [
        ['front', device],
        ['back', accelerator],
      ] as const) {
        const outcome = await vif.host.within(again(half), Deadline.removeMs);
        lab.expect(outcome?.ok === true, () => ({
          expected: `a second remove() of the ${name} half does nothing`,
          seen: outcome?.ok === false ? `it rejected: ${outcome.reason}` : 'it never came to an end',
          todo: 'forget each thing when it is released, so that a second remove finds nothing to do',
        }));
      }
      vif.front.over = vif.back.over = true;
    },
  },
  {
    id: 'life.failed-probe',
    title: 'leaves nothing behind when attaching fails, at whichever step',
    docs: Docs.front,
    needs: ['life.load-order', ...ledgerIds],
    check: async (lab) => {
      for (const side of ['front', 'back'] as const)
        for (let step = 0; step < MOST_SERVICES; step++) {
          const vif = lab.host().vif();
          const half = vif[side];
          half.failAt = step;
          const reason = await vif.attach();
          const hit = half.failed;
          if (hit === null) {
            await lab.end();
            break;
          }
          const failed = reason !== null;
          // netfront gives nothing back for a front half that rejected: it has to have done so by then.
          const early = failed ? vif.left().filter(({ what }) => what.endsWith('front half')) : [];
          if (failed && vif.device === null) vif.front.over = true;
          await vif.detach();
          const left = [...early, ...vif.host.left()];
          await lab.end();
          lab.expect(left.length === 0, () => ({
            expected: `nothing is left when ${hit} of the ${half.name} fails at set-up (call ${step})`,
            seen: inWords(left),
            todo: RELEASE,
          }));
        }
    },
  },
  {
    id: 'life.dead-peer',
    title: 'ends in time when the other half is dead',
    docs: Docs.front,
    needs: ['life.attaches'],
    check: async (lab) => {
      for (const side of ['front', 'back'] as const) {
        const vif = await lab.attached();
        vif.mail[side === 'front' ? 'back' : 'front'].dead = true;
        const { quiesced, frontRemoved, backRemoved } = await vif.detach();
        const late =
          side === 'back'
            ? backRemoved
              ? null
              : ['remove() of the back half', Deadline.removeMs]
            : !quiesced
              ? ['quiesce()', Deadline.quiesceMs]
              : !frontRemoved
                ? ['remove() of the front half', Deadline.removeMs]
                : null;
        lab.expect(late === null, () => ({
          expected: `${late![0]} ends within ${late![1]} ms, though the other half answers nothing`,
          seen: 'it was still waiting then; the host took the device by force',
          todo: 'give each request a timeout, and go on without the answer; remove() needs nothing from the other half',
        }));
      }
    },
  },
  {
    id: 'life.describe',
    title: 'can describe itself as plain data, at any time',
    docs: Docs.front,
    needs: ['life.attaches'],
    check: async (lab) => {
      const vif = await lab.attached();
      const judge = (when: string): void => {
        for (const half of [vif.device!, vif.accelerator!]) {
          const problem = described(half);
          lab.expect(problem === null, () => ({
            expected: `describe() answers plain data ${when}: it is printed, and sent as JSON`,
            seen: problem!,
            todo: 'answer numbers, strings, lists and records made of them; no functions, no BigInt, no cycles',
          }));
        }
      };
      judge('while attached');
      await vif.detach();
      judge('after it was removed');
    },
  },
  {
    id: 'life.any-moment',
    title: `can be removed at any moment: ${INTERLEAVINGS} seeded interleavings`,
    docs: Docs.front,
    needs: ['life.load-order', 'life.failed-probe', 'life.dead-peer'],
    check: async (lab) => {
      for (let round = 0; round < lab.times(INTERLEAVINGS); round++) {
        const vif = lab.host().vif();
        await interleave(lab, vif);
        const detached = await vif.detach();
        await vif.host.run(200);
        const left = vif.host.left();
        await lab.end();
        const ended = detached.quiesced && detached.frontRemoved && detached.backRemoved;
        lab.expect(left.length === 0 && ended, () => ({
          expected: 'it is gone in time, and all that it held is given back',
          seen: `round ${round} of seed ${lab.seed}: ${ended ? inWords(left) : 'it did not come to an end'}`,
          todo: RELEASE,
        }));
      }
    },
  },
  {
    id: 'life.silent-after-remove',
    title: 'calls no service once it is removed',
    docs: Docs.front,
    watched: true,
    check: async (lab) => {
      const vif = await lab.attached();
      await lab.steer(vif, { flow: 3 }, 4);
      await vif.detach();
      vif.host.arrive(lab.inward(vif, { flow: 3 }));
      await vif.host.run(20_000);
    },
  },
];

function judgeDefinition(
  lab: Lab,
  half: { kind: string; name: string; version: string; contract: number; capabilities: Capabilities },
): void {
  const which = `the ${half.kind} half`;
  lab.expect(/^\d+\.\d+\.\d+/.test(half.version) && half.name !== '', () => ({
    expected: `${which} has the name and version of its package`,
    seen: `name ${JSON.stringify(half.name)}, version ${JSON.stringify(half.version)}`,
    todo: 'say them in the definition as package.json does',
  }));
  lab.expect(half.contract >= OLDEST_CONTRACT && half.contract <= CONTRACT_VERSION, () => ({
    expected: `${which} was made for contract ${OLDEST_CONTRACT} to ${CONTRACT_VERSION}`,
    seen: `contract ${half.contract}`,
    todo: 'write `contract: CONTRACT_VERSION`, and build against the core-hooks that it is to run with',
  }));
  for (const [name, value] of Object.entries(half.capabilities)) {
    const kind = capabilityKinds[name as keyof Capabilities] as string | undefined;
    const fits = kind === 'number' ? Number.isInteger(value) && value >= 0 : typeof value === kind;
    lab.expect(fits, () => ({
      expected:
        kind === undefined
          ? `${which} has capabilities of ${Object.keys(capabilityKinds).join(', ')}`
          : `capability ${name} is a ${kind}`,
      seen: `${name}: ${String(value)}`,
      todo: 'declare what the contract knows; leave out what the plugin cannot do',
    }));
  }
}

async function again(half: { remove(): Promise<void> } | null): Promise<void> {
  await half?.remove();
}

function described(half: { describe(): unknown }): string | null {
  try {
    const value = half.describe();
    if (typeof value !== 'object' || value === null) return `it answered ${String(value)}`;
    const copy: unknown = JSON.parse(JSON.stringify(value));
    return typeof copy === 'object' ? null : 'it is not a record';
  } catch (error) {
    return `it threw ${String(error)}`;
  }
}

/** Random traffic, waits and messages, up to a random moment; also in the middle of attaching. */
async function interleave(lab: Lab, vif: Vif): Promise<void> {
  const { host, guest } = vif;
  if (lab.random(4) === 0) {
    // In the middle: each half has a random while.
    const probing = vif.probe().catch(() => undefined);
    await host.run(lab.random(3));
    const making = vif.newDevice().catch(() => undefined);
    for (let i = lab.random(12); i > 0; i--) await Promise.resolve();
    if (lab.random(2) === 0) host.bench.holdTransmit(true);
    await host.within(Promise.all([probing, making]), Deadline.probeMs);
    return;
  }
  await lab.attach(vif, lab.random(2) === 0 ? 'front first' : 'back first');
  const steps = 2 + lab.random(14);
  for (let i = 0; i < steps; i++) {
    const flow = lab.random(6);
    const ports = { targetPort: 8000 + flow, flow, serial: i };
    switch (lab.random(7)) {
      case 0:
      case 1:
        host.arrive(lab.inward(vif, ports));
        break;
      case 2:
      case 3:
        guest.transmit(lab.outward(vif, ports), {}, lab.random(2) === 0);
        break;
      case 4:
        host.bench.holdTransmit(lab.random(3) === 0);
        break;
      case 5:
        guest.slowHeld = lab.random(3) === 0;
        host.port.delayed = lab.random(3) === 0;
        break;
      default:
        await host.run(lab.random(60));
    }
  }
  host.bench.holdTransmit(false);
  host.port.delayed = false;
  host.port.handleAll();
  guest.slowHeld = lab.random(4) === 0;
  for (let i = lab.random(20); i > 0; i--) await Promise.resolve();
}
