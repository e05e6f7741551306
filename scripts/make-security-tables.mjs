// Writes the tables of docs/security.md from the code's own limits and from docs/advisories.json, after a build:
// `node scripts/make-security-tables.mjs`. A test compares the page with what this makes.
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { format, resolveConfig } from 'prettier';
import { FILL_DEFAULTS } from '@netaccel/netfront';
import { defaultLimits, defaultQuotas } from '@netaccel/netback';
import * as xen from '@netaccel/xen';
import { PATH_LIMITS, QUOTAS, MAX_PAYLOAD_BYTES } from '@netaccel/xen/store';
import { STORE_SOCKET_LIMITS } from '@netaccel/xen/store/socket';

/** @typedef {{ xsa: number[], about: string, tests?: string[], notHere?: string }} Advisory */

const page = new URL('../docs/security.md', import.meta.url);

/** @type {Record<string, Advisory[]>} */
export const advisories = JSON.parse(
  readFileSync(new URL('../docs/advisories.json', import.meta.url), 'utf8'),
);

/** @param {string[]} head @param {(string | number)[][]} rows */
function table(head, rows) {
  const line = (/** @type {(string | number)[]} */ cells) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

/** @param {string} path */
const link = (path) => `[${path.replace(/^packages\/|\.test\.ts$/g, '').replace('/test', '')}](../${path})`;

const netback = 'packages/netback/test/';
const store = 'packages/xen/test/store/';

/** Its test holds each of a vif's limits, at another number than the default, in a case with the limit's name. */
const vifLimitsTest = `${netback}limits.test.ts`;

/** What each limit of a vif is for. @type {Record<string, string>} */
const vifLimits = {
  maxQueues: 'queues of a vif',
  budget: 'packets of a queue before others have their turn',
  smallBuffers: 'transmit buffers of 2 KiB',
  largeBuffers: 'transmit buffers of 64 KiB',
  backlogBytes: 'bytes that wait per queue for receive buffers',
  backlogFrames: 'frames that wait per queue for receive buffers',
  drainTimeoutMs: 'ms that a frame waits',
  drainTimeoutWithoutNotifyMs: 'ms, for a guest that does not say when it posts',
  stallTimeoutMs: 'ms without receive buffers until the carrier goes down',
  malformedInARow: 'malformed packets in a row until the vif is fenced',
  multicastGroups: 'multicast groups',
  staticGrants: 'pages that a queue’s guest may have kept mapped',
  probeTimeoutMs: 'ms that a plugin’s probe takes',
  requestTimeoutMs: 'ms that a plugin’s request to the guest’s half waits for its answer',
  teardownTimeoutMs: 'ms of each wait of a teardown',
};

/** Other limits: name, default, what is counted, test. @type {[string, number, string, string][]} */
const others = [
  [
    'store message',
    MAX_PAYLOAD_BYTES,
    'bytes of payload; the connection is closed above',
    `${store}wire.test.ts`,
  ],
  ...Object.entries(PATH_LIMITS).map(
    ([name, value]) =>
      /** @type {[string, number, string, string]} */ ([
        `path ${name}`,
        value,
        name === 'depth' ? 'names in a path' : 'bytes of a path',
        `${store}path.test.ts`,
      ]),
  ),
  [
    'store socket clients',
    STORE_SOCKET_LIMITS.clients,
    'connections to a store’s Unix socket',
    `${store}socket.test.ts`,
  ],
  [
    'store socket waitingBytes',
    STORE_SOCKET_LIMITS.waitingBytes,
    'bytes that a client leaves unread',
    `${store}socket.test.ts`,
  ],
  [
    'mailbox slots',
    xen.MAILBOX_SLOTS,
    'messages each way between the halves of a plugin',
    'packages/xen/test/mailbox.test.ts',
  ],
  [
    'receive pages on a ring',
    FILL_DEFAULTS.most,
    'pages that a guest gives its backend, per queue',
    'packages/netfront/test/fill.test.ts',
  ],
  [
    'log lines',
    xen.LOG_LIMITS.burst,
    `lines of a domain at once, then ${xen.LOG_LIMITS.perSecond} a second; how many were left out is said with the next`,
    'packages/xen/test/sim/log.test.ts',
  ],
  [
    'log lines of a vif',
    xen.LOG_LIMITS.burst,
    `states of a vif that \`netaccel xen\` logs at once, then ${xen.LOG_LIMITS.perSecond} a second; where it ended is said`,
    'packages/host/test/xen/backend.test.ts',
  ],
];

const plugin = 'packages/dummy-accel-backend/test/';

/** What a vif's plugin may have, unless the toolstack says otherwise: key, default, what is counted, test. */
const pluginQuotas = /** @type {const} */ ([
  [
    'limits/max-filters',
    defaultQuotas.maxFilters,
    'filters of a vif on its NIC port',
    `${plugin}steering.test.ts`,
  ],
  [
    'limits/max-buf-pages',
    defaultQuotas.maxBufferPages,
    'pages for received frames that a guest may register with the NIC',
    `${plugin}set-up.test.ts`,
  ],
]);

function limits() {
  const rows = Object.entries(defaultLimits).map(([name, value]) => {
    const known = vifLimits[name];
    if (known === undefined) throw new Error(`make-security-tables: netback's limit ${name} has no row here`);
    return ['vif', `\`${name}\``, value, known, link(vifLimitsTest)];
  });
  const quotas = Object.entries(QUOTAS).map(([name, { initial, unit, counts }]) => [
    'store, per domain',
    `\`${name}\``,
    initial,
    `${unit}: ${counts}`,
    link(
      name.startsWith('write') || name === 'outstanding'
        ? `${store}advisories-requests.test.ts`
        : `${store}quota.test.ts`,
    ),
  ]);
  return table(
    ['of', 'limit', 'default', 'what it bounds', 'test'],
    [
      ...rows,
      ...pluginQuotas.map(([name, value, what, test]) => [
        'plugin of a vif',
        `\`${name}\``,
        value,
        what,
        link(test),
      ]),
      ...quotas,
      ...others.map(([name, value, what, test]) => ['both', name, value, what, link(test)]),
    ],
  );
}

function covered() {
  const all = Object.values(advisories).flat();
  const count = (/** @type {Advisory[]} */ rows) => rows.reduce((sum, { xsa }) => sum + xsa.length, 0);
  const tested = all.filter(({ tests }) => tests !== undefined);
  const sections = Object.entries(advisories).map(
    ([name, rows]) =>
      `### ${name.slice(0, 1).toUpperCase()}${name.slice(1)}\n\n${table(
        ['XSA', 'attack', 'test, or why it cannot be here'],
        rows.map(({ xsa, about, tests, notHere }) => [
          xsa.join(', '),
          about,
          tests === undefined ? String(notHere) : tests.map(link).join(', '),
        ]),
      )}`,
  );
  return [
    `Of ${count(all)} entries ${count(tested)} have a test with the number in its name; the others say why they cannot be here.`,
    ...sections,
  ].join('\n\n');
}

/** The page, its tables made anew. */
export async function securityPage() {
  const path = fileURLToPath(page);
  let text = readFileSync(page, 'utf8');
  for (const [name, made] of Object.entries({ limits: limits(), advisories: covered() })) {
    const block = new RegExp(`(<!-- ${name} -->)[^]*(<!-- /${name} -->)`);
    if (!block.test(text)) throw new Error(`docs/security.md has no <!-- ${name} --> block`);
    text = text.replace(block, (_, open, close) => `${open}\n\n${made}\n\n${close}`);
  }
  return format(text, { ...(await resolveConfig(path)), filepath: path });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(page, await securityPage());
