/**
 * The control mailbox between the two halves of a plugin: requests and replies over two rings in pages of the
 * guest, one event channel. netfront opens it, netback attaches to it, each hands its end to its half.
 */
import { MailboxError, PAGE_BYTES } from '@netaccel/core-hooks';
import type { Domain, DomainId, Port } from './machine.js';
import { MailboxEnd } from './mailbox-end.js';
import type { MailboxOptions } from './mailbox-end.js';
import {
  MAILBOX_MAGIC,
  MAILBOX_PAGES,
  MAILBOX_VERSION,
  MailboxPages,
  initialiseMailbox,
} from './mailbox-ring.js';

export * from './mailbox-end.js';
export * from './mailbox-ring.js';

/** What a guest tells the backend. */
export interface MailboxKeys {
  /** Grant references of the two pages. */
  readonly refs: ArrayLike<number>;
  /** The event channel to bind. */
  readonly port: Port;
}

/** A mailbox that a guest made: its end, and what it tells the backend. */
export interface OpenMailbox {
  /** The guest's end. */
  readonly mailbox: MailboxEnd;
  /** Grant references of the two pages. */
  readonly refs: Uint32Array;
  /** The event channel to bind. */
  readonly port: Port;
}

/**
 * Makes a mailbox: the guest's end. Tell the backend `refs` and `port`.
 *
 * @example
 * ```ts
 * const { mailbox, refs, port } = openMailbox(guest, 0);       // in the guest
 * const other = attachMailbox(backend, 1, { refs, port });      // in the backend
 * other.handle(1, (payload) => ({ ok: true, payload }));
 * const reply = await mailbox.request(1, new Uint8Array([42]));
 * ```
 * @throws MachineError when there are no pages, grants or ports.
 */
export function openMailbox(domain: Domain, peer: DomainId, options: MailboxOptions = {}): OpenMailbox {
  const shared = domain.grants.share(peer, MAILBOX_PAGES, 'write');
  const slots = shared.address + PAGE_BYTES;
  initialiseMailbox(domain.memory, shared.address);
  const pages = new MailboxPages(domain.memory, shared.address, slots, 'guest');
  const mailbox = new MailboxEnd(domain, pages, () => void shared.release(), options);
  try {
    const channel = domain.events.allocateUnbound(peer, mailbox.event);
    mailbox.connect(channel);
    return { mailbox, refs: shared.refs, port: channel.port };
  } catch (error) {
    mailbox.close();
    throw error;
  }
}

/**
 * The backend's end of a mailbox that a guest made.
 * @throws MachineError when a reference or the port is not what it should be.
 * @throws MailboxError `BREACH` when the pages are no mailbox of this version.
 */
export function attachMailbox(
  domain: Domain,
  peer: DomainId,
  keys: MailboxKeys,
  options: MailboxOptions = {},
): MailboxEnd {
  if (keys.refs.length !== MAILBOX_PAGES)
    throw new MailboxError(
      'BREACH',
      `a mailbox has ${MAILBOX_PAGES} pages; the peer named ${keys.refs.length}`,
    );
  const mapped = domain.foreign.map(peer, keys.refs, 'write');
  const [control, slots] = mapped.addresses as unknown as [number, number];
  const pages = new MailboxPages(domain.memory, control, slots, 'backend');
  const { magic, version } = pages.identity();
  if (magic !== MAILBOX_MAGIC || version !== MAILBOX_VERSION) {
    mapped.unmap();
    throw new MailboxError(
      'BREACH',
      `no mailbox: magic ${MAILBOX_MAGIC} and version ${MAILBOX_VERSION} expected, ${magic} and ${version} seen`,
    );
  }
  const mailbox = new MailboxEnd(domain, pages, () => mapped.unmap(), options);
  try {
    mailbox.connect(domain.events.bindInterdomain(peer, keys.port, mailbox.event));
  } catch (error) {
    mailbox.close();
    throw error;
  }
  return mailbox;
}
