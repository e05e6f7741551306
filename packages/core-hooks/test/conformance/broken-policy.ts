// Plugins that break a rule of policy, or do not see what happens to their device.
import type { BenchFault } from '../../src/conformance/index.js';
import { back } from './memory-back.js';
import { front } from './memory-front.js';
import { subject } from './memory-plugin.js';
import { Message } from './memory-protocol.js';
import { backServices, card, services, sneaking, tag } from './tamper.js';
import type { Broken } from './tamper.js';

/** A half that does not hear of one fault. */
const deafTo = (fault: BenchFault) => () =>
  card(({ open }) => ({
    open: (owner) =>
      open({
        ...owner,
        failed: (kind) => {
          if (kind !== fault) owner.failed(kind);
        },
      }),
  }));

/** A plugin that says that it keeps to a rate limit. */
const limited = { ...front, capabilities: { ...front.capabilities, transmitRate: true } };

export const brokenPolicies: readonly Broken[] = [
  {
    fault: 'takes frames while there is no link',
    rule: 'link.down',
    make: () => sneaking((bytes, made) => !made.up && tag(bytes).flow === 0xe1),
  },
  {
    fault: 'misses that the link is back',
    rule: 'link.up',
    make: () =>
      backServices(({ port }) => ({
        port: {
          ...port,
          onLink: (handler) => {
            let changes = 0;
            return port.onLink((up) => {
              if (++changes <= 2) handler(up);
            });
          },
        },
      })),
  },
  {
    fault: 'does not notice a reset',
    rule: 'reset.noticed',
    make: () => backServices(({ port }) => ({ port: { ...port, onReset: () => () => undefined } })),
  },
  {
    fault: 'goes round the rate limit',
    rule: 'policy.rate',
    make: () => backServices(() => ({ rateBytesPerSecond: 0 })),
  },
  {
    fault: 'says that it keeps to a rate limit, and refuses vifs that have one',
    rule: 'policy.rate',
    make: () => subject({ frontend: limited }),
  },
  {
    fault: 'says that it keeps to a rate limit, and does not ask for credit',
    rule: 'policy.rate',
    make: () => ({ ...backServices(() => ({ rateBytesPerSecond: 0 })), frontend: limited }),
  },
  {
    fault: "sends from another's IP address",
    rule: 'policy.source-address',
    make: () => backServices(({ vif: { addresses: _, ...vif } }) => ({ vif })),
  },
  {
    fault: 'checks the addresses of IPv4 only',
    rule: 'policy.source-address',
    make: () => {
      let listed = false;
      const made = sneaking((bytes) => listed && bytes[12] === 0x86 && bytes[0] === 2 && bytes[37] === 77);
      return {
        ...made,
        backend: {
          ...back,
          probe: (given) => {
            listed = given.vif.addresses !== undefined;
            return back.probe(given);
          },
        },
      };
    },
  },
  {
    fault: 'takes only IPv4 frames for a sign that a neighbour moved here',
    rule: 'policy.announcements',
    make: () =>
      backServices(({ port, memory }) => ({
        port: {
          ...port,
          onTransmit: (handler) =>
            port.onTransmit((frame) => {
              if (memory.bytes[frame.address + 12] === 8 && memory.bytes[frame.address + 13] === 0)
                handler(frame);
            }),
        },
      })),
  },
  {
    fault: 'believes for ever that a neighbour is across the wire',
    rule: 'policy.ageing',
    make: () => services(({ clock }) => ({ clock: { ...clock, now: () => 0 } })),
  },
  {
    fault: 'tells of a neighbour once in its life',
    rule: 'policy.ageing',
    make: () =>
      backServices(({ mailbox }) => {
        const told = new Map<string, number>();
        return {
          mailbox: {
            handle: mailbox.handle,
            request: (type, payload, timeoutMs) => {
              if (type !== Message.address) return mailbox.request(type, payload, timeoutMs);
              const mac = payload.subarray(1).join();
              if (told.get(mac) === payload[0])
                return Promise.resolve({ ok: true, payload: new Uint8Array(0) });
              told.set(mac, payload[0]!);
              return mailbox.request(type, payload, timeoutMs);
            },
          },
        };
      }),
  },
  {
    fault: 'does not notice that events were lost',
    rule: 'faults.events',
    make: deafTo('events'),
  },
  {
    fault: 'does not notice that its queue stopped',
    rule: 'faults.rights',
    make: deafTo('rights'),
  },
];
