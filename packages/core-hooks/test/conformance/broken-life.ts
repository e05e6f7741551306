// Plugins that break a rule of the life cycle or of the ledger.
import { back } from './memory-back.js';
import type { MemoryCard } from './memory-card.js';
import { front } from './memory-front.js';
import { subject } from './memory-plugin.js';
import { Message } from './memory-protocol.js';
import { backHooks, backServices, card, hooks, services } from './tamper.js';
import type { Broken } from './tamper.js';

const never = new Promise<never>(() => undefined);

/** What a front half does before it is the good one. */
const first = (act: (services: Parameters<typeof front.newDevice>[0]) => unknown) => () =>
  subject({
    frontend: {
      ...front,
      newDevice: async (given) => {
        const device = await front.newDevice(given);
        await act(given);
        return device;
      },
    },
  });

export const brokenLives: readonly Broken[] = [
  {
    fault: 'was made for the contract of tomorrow',
    rule: 'definition.declares',
    make: () => subject({ frontend: { ...front, contract: 99 } }),
  },
  {
    fault: 'declares a capability that there is not',
    rule: 'definition.declares',
    make: () =>
      subject({ frontend: { ...front, capabilities: { ...front.capabilities, teleport: true } as object } }),
  },
  {
    fault: 'supports any device',
    rule: 'definition.declares',
    make: () => subject({ backend: { ...back, supports: () => true } }),
  },
  {
    fault: 'never comes up',
    rule: 'life.attaches',
    make: () => subject({ frontend: { ...front, newDevice: () => never } }),
  },
  {
    fault: 'asks the guest for something in probe, before it is there',
    rule: 'life.load-order',
    make: () =>
      subject({
        backend: {
          ...back,
          probe: async (given) => {
            const made = await back.probe(given);
            await given.mailbox.request(Message.link, Uint8Array.of(1), 100);
            return made;
          },
        },
      }),
  },
  {
    fault: 'attaches once in its life',
    rule: 'life.again',
    make: () => {
      let machine = 0;
      let seen = -1;
      const good = subject();
      return {
        ...good,
        frontend: {
          ...front,
          newDevice: (given) => {
            if (given.vif.guest === 1 && seen === machine) return Promise.reject(new Error('there already'));
            seen = given.vif.guest === 1 ? machine : seen;
            return front.newDevice(given);
          },
        },
        bench: (parts) => {
          machine++;
          return good.bench(parts);
        },
      };
    },
  },
  {
    fault: 'has one device for all guests',
    rule: 'life.two-devices',
    make: () => {
      const macs = new WeakMap<MemoryCard, Uint8Array>();
      return card((good, bench) => ({
        transmit: (session, job) => {
          const bytes = (): Uint8Array => {
            const frame = job.bytes();
            const mac = macs.get(bench) ?? frame.slice(6, 12);
            macs.set(bench, mac);
            frame.set(mac, 6);
            return frame;
          };
          good.transmit(session, { ...job, bytes });
        },
      }));
    },
  },
  {
    fault: 'throws at a second remove',
    rule: 'life.remove-twice',
    make: () =>
      hooks((good) => {
        let times = 0;
        return { remove: () => (++times === 1 ? good.remove() : Promise.reject(new Error('gone already'))) };
      }),
  },
  {
    fault: 'keeps its pages when set-up fails',
    rule: 'life.failed-probe',
    make: () =>
      subject({
        frontend: {
          ...front,
          newDevice: async (given) => {
            const shared = given.share(1, 'write');
            const device = await front.newDevice(given);
            const remove = device.remove.bind(device);
            const both = (): Promise<void> => {
              shared.release();
              return remove();
            };
            return Object.assign(device, { remove: both });
          },
        },
      }),
  },
  {
    fault: 'waits in quiesce for an answer without a deadline',
    rule: 'life.dead-peer',
    make: () =>
      services((good) => ({
        mailbox: {
          handle: good.mailbox.handle,
          request: (type, payload) =>
            good.mailbox.request(type, payload, type === Message.quiesce ? 1e9 : 1000),
        },
      })),
  },
  {
    fault: 'ignores the deadline of remove',
    rule: 'life.dead-peer',
    make: () =>
      backHooks((good, { mailbox }) => ({
        remove: async () => {
          await mailbox.request(Message.link, Uint8Array.of(0), 1e9).catch(() => undefined);
          await good.remove();
        },
      })),
  },
  {
    fault: 'describes itself with a BigInt',
    rule: 'life.describe',
    make: () => hooks((good) => ({ describe: () => ({ ...good.describe(), count: 1n }) })),
  },
  {
    fault: 'calls wake after remove',
    rule: 'life.silent-after-remove',
    make: () =>
      hooks((good, { wake }) => ({
        remove: async () => {
          await good.remove();
          setTimeout(wake, 0);
        },
      })),
  },
  {
    fault: 'forgets pages that it takes in the middle of a batch',
    rule: 'life.any-moment',
    make: () =>
      hooks((good, { share }) => {
        let scratch: { release(): boolean } | null = null;
        return {
          startTransmit: (frame, more) => {
            if (more) scratch ??= share(1, 'read');
            return good.startTransmit(frame, more);
          },
          flush: () => {
            scratch?.release();
            scratch = null;
            good.flush!();
          },
        };
      }),
  },
  { fault: 'leaks a grant', rule: 'ledger.grants', make: first(({ share }) => share(1, 'write')) },
  {
    fault: 'maps pages twice and unmaps them once',
    rule: 'ledger.mappings',
    make: () =>
      backServices(({ map }) => ({
        map: (refs, access) => {
          map(refs, access);
          return map(refs, access);
        },
      })),
  },
  {
    fault: 'leaks an event channel',
    rule: 'ledger.channels',
    make: first(({ events }) => events.open(() => undefined)),
  },
  {
    fault: 'leaks a timer',
    rule: 'ledger.timers',
    make: first(({ clock }) => clock.after(1e9, () => undefined)),
  },
  {
    fault: 'leaks a watch',
    rule: 'ledger.watches',
    make: first(({ store }) => store.watchPeer('state', () => undefined)),
  },
  {
    fault: 'leaves a handler on the port',
    rule: 'ledger.subscriptions',
    make: () =>
      backServices(({ port }) => ({
        port: {
          ...port,
          onTransmit: (handler) => {
            port.onTransmit(() => undefined);
            return port.onTransmit(handler);
          },
        },
      })),
  },
  {
    fault: 'leaks a queue of the device',
    rule: 'ledger.device',
    make: () =>
      card(({ open }) => ({
        open: (owner) => {
          open({ sent: () => undefined, receive: () => undefined, failed: () => undefined });
          return open(owner);
        },
      })),
  },
  {
    fault: 'holds a frame for ever',
    rule: 'ledger.frames',
    make: () =>
      hooks((good) => {
        let offered = 0;
        return {
          startTransmit: (frame, more) => {
            const verdict = good.startTransmit(frame, more);
            if (verdict === 0 && ++offered % 4 === 0) frame.hold();
            return verdict;
          },
        };
      }),
  },
];
