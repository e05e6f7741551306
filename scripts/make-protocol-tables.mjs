// Writes docs/protocol.md from the layout rows of the built packages: `node scripts/make-protocol-tables.mjs`.
// A test compares the page with what this makes; after a change of a layout, build and run this.
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { format, resolveConfig } from 'prettier';
import { declineReasons, FIRST_PLUGIN_REASON, MAILBOX_PAYLOAD_BYTES } from '@netaccel/core-hooks';
import * as vi from '@netaccel/nic-vi';
import * as xen from '@netaccel/xen';
import * as netif from '@netaccel/xen/netif';
import * as sim from '@netaccel/xen/sim';
import * as store from '@netaccel/xen/store';

/** @typedef {{ name: string, size: number, source: string, fields: Record<string, import('@netaccel/xen').Field> }} XenLayout */
/** @typedef {import('@netaccel/nic-vi').Layout} ViLayout */

const page = new URL('../docs/protocol.md', import.meta.url);
const kinds = { u: 'unsigned', s: 'signed', b: 'bytes' };

/** @param {string} text */
const cell = (text) => text.replaceAll('|', '\\|');

/** @param {string[]} head @param {(string | number)[][]} rows */
function table(head, rows) {
  const line = (/** @type {(string | number)[]} */ cells) =>
    `| ${cells.map((c) => cell(String(c))).join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

/** A structure with whole bytes, as Xen's headers have them. @param {XenLayout} of @param {string} [title] */
function bytes({ name, size, source, fields }, title = name) {
  const from = /^(xen|linux)\//.test(source) ? `\`${source}\`` : `[\`${source}\`](../${source})`;
  const rows = Object.values(fields).map((f) => [f.offset, f.width, kinds[f.kind], `\`${f.name}\``, f.note]);
  return `### ${title}\n\n${size} bytes. ${from}\n\n${table(['byte', 'bytes', 'kind', 'field', 'meaning'], rows)}`;
}

/** A structure of bit fields in 32-bit words. @param {ViLayout} of */
function bits({ name, size, note, fields }) {
  const rows = Object.values(fields).map((f) => [
    f.offset,
    f.width > 32 ? `${f.width / 8} bytes` : f.width === 1 ? f.bit : `${f.bit} to ${f.bit + f.width - 1}`,
    `\`${f.name}\``,
    f.access,
    f.note,
  ]);
  return `### ${name}\n\n${note} ${size} bytes.\n\n${table(['byte', 'bits', 'field', 'written by', 'meaning'], rows)}`;
}

/** Names of numbers. @param {string} name @param {Readonly<Record<string, number>>} codes */
function codes(name, codes) {
  const rows = Object.entries(codes).map(([key, value]) => [`\`${key}\``, value]);
  return `### ${name}\n\n${table(['name', 'value'], rows)}`;
}

/** One half's rows of the handshake: what it does in each of its states on seeing each of the other's.
 * @param {(own: any, other: any) => string} reaction */
function handshake(reaction) {
  const names = xen.XENBUS_STATE_NAMES;
  const rows = names.map((own) => [
    `**${own}**`,
    ...names.map((other) => reaction(xen.XenbusState[own], xen.XenbusState[other]).replace('none', '')),
  ]);
  return table(['own \\ other', ...names], rows);
}

/** @param {Readonly<Record<string, import('@netaccel/xen').Reaction>>} reactions */
function reactions(reactions) {
  return table(
    ['reaction', 'what is done', 'states written'],
    Object.entries(reactions).map(([name, { does, then }]) => [name, does, then.join(', ')]),
  );
}

/** @param {string} title @param {string} text @param {string[]} parts */
const section = (title, text, parts) => [`## ${title}`, text, ...parts].join('\n\n');

/** The page, as prettier leaves it. */
export async function protocolPage() {
  const text = [
    '<!-- Made by scripts/make-protocol-tables.mjs from the layout rows. Do not edit. -->',
    '# Protocol tables',
    'Every structure that two parties share, from the rows that the code itself reads and writes by. Integers are little-endian. `tx` and `rx` are meant from the guest’s side.',
    section(
      'Rings',
      `A ring is one page: the header, then a power of two of slots, ${netif.TX_RING_SLOTS} for transmit, ${netif.RX_RING_SLOTS} for receive, ${netif.CONTROL_RING_SLOTS} for control. Indices run free in 32 bits. The frontend produces requests; the backend answers in the same slots.`,
      [bytes(xen.ringHeader)],
    ),
    section(
      'netif: frames on rings',
      `A packet takes a slot for each page that it touches, with one for each extra info after the first; a backend accepts at least ${netif.MIN_SLOTS_PER_PACKET} slots for one packet, of at most ${netif.MAX_PACKET_BYTES} bytes.`,
      [
        ...netif.netifLayouts.map((each) => bytes(each)),
        codes('TxFlag', netif.TxFlag),
        codes('RxFlag', netif.RxFlag),
        codes('ExtraType', netif.ExtraType),
        codes('ExtraFlag', netif.ExtraFlag),
        codes('Status', netif.Status),
      ],
    ),
    section(
      'netif: the control ring',
      'By which a guest says how its frames are hashed and spread over its queues.',
      [
        ...netif.controlLayouts.map((each) => bytes(each)),
        codes('ControlType', netif.ControlType),
        codes('ControlStatus', netif.ControlStatus),
        codes('HashType', netif.HashType),
        codes('HashAlgorithm', netif.HashAlgorithm),
        codes('GrefFlag', netif.GrefFlag),
      ],
    ),
    section(
      'Grants',
      `What a domain lets another do with a page. The first ${sim.RESERVED_GRANTS} entries are the toolstack’s.`,
      [bytes(sim.grantEntry), codes('GrantFlag', sim.GrantFlag)],
    ),
    section('xenstore messages', `Header and payload of at most ${store.MAX_PAYLOAD_BYTES} bytes.`, [
      bytes(store.MESSAGE_HEADER),
      codes('MessageType', store.MessageType),
    ]),
    section(
      'The xenbus handshake',
      'What each half does on seeing the other’s state. An empty cell: nothing.',
      [
        codes('XenbusState', xen.XenbusState),
        '### The frontend',
        reactions(xen.FRONTEND_REACTIONS),
        handshake(xen.frontendReaction),
        '### The backend',
        reactions(xen.BACKEND_REACTIONS),
        handshake(xen.backendReaction),
      ],
    ),
    section(
      'The mailbox between the two halves of a plugin',
      `${xen.MAILBOX_PAGES} pages of the guest: one of indices, one with ${xen.MAILBOX_SLOTS} slots for each direction. A message carries at most ${MAILBOX_PAYLOAD_BYTES} bytes. Magic ${xen.MAILBOX_MAGIC}, version ${xen.MAILBOX_VERSION}; indices begin at ${xen.MAILBOX_START}.`,
      [bytes(xen.mailboxControl), bytes(xen.mailboxSlot), codes('MailboxKind', xen.MailboxKind)],
    ),
    section('The VI', 'What the guest’s driver and the network card share.', [
      ...vi.viLayouts.map((each) => bits(each)),
      codes('EventType', vi.EventType),
      codes('ClockState', vi.ClockState),
      codes('DiscardReason', vi.DiscardReason),
      codes('TransmitError', vi.TransmitError),
      `### Limits\n\n${table(
        ['ring', 'slots at most', 'pages at most'],
        Object.entries(vi.RING_LIMITS).map(([name, { slots, pages }]) => [name, slots, pages]),
      )}`,
      `### Filters\n\nMost specific first: ${vi.filterKinds.map((kind) => `\`${kind}\``).join(', ')}. A frame goes where the most specific one that matches says.`,
    ]),
    section(
      'Messages between the halves of a plugin for such a card',
      `By the mailbox. Message version ${vi.MESSAGE_VERSION}; versions ${vi.CONTROL_VERSIONS.oldest} to ${vi.CONTROL_VERSIONS.newest} of the control protocol are spoken.`,
      [
        codes('ControlMessage', vi.ControlMessage),
        codes('ControlFeature', vi.ControlFeature),
        ...vi.controlLayouts.map((each) => bits(each)),
        ...vi.messageLayouts.map((each) => bits(each)),
      ],
    ),
    section(
      'Reasons to decline a frame',
      `Counted by netfront and shown by \`netaccel explain\`. A plugin’s own begin at ${FIRST_PLUGIN_REASON}.`,
      [
        table(
          ['number', 'reason'],
          declineReasons.map((reason, i) => [i, reason]),
        ),
      ],
    ),
  ].join('\n\n');
  const path = fileURLToPath(page);
  return format(text, { ...(await resolveConfig(path)), filepath: path });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(page, await protocolPage());
