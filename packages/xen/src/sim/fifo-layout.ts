/**
 * What a guest and its hypervisor share where event channels are FIFO: a control block and an array of event words,
 * in pages of the guest.
 */
import { layout } from '../layout.js';

/** Priorities, and so queues, of a domain; 0 goes first. */
export const FIFO_PRIORITIES = 16;
/** What a port has that nobody gave another (`EVTCHN_FIFO_PRIORITY_DEFAULT`). */
export const FIFO_DEFAULT_PRIORITY = 7;

/** The control block of a domain, or of a virtual processor where domains have several. */
export const fifoControlBlock = layout(
  'evtchn_fifo_control_block',
  72,
  'xen/include/public/event_channel.h',
  {
    ready: [0, 4, 'u', 'bit n: queue n has events'],
    reserved: [4, 4, 'u', '0'],
    heads: [8, 64, 'b', 'a word for each queue: the port that it begins with, when it was empty before'],
  },
);
/** What a control block is aligned to. */
export const FIFO_CONTROL_ALIGN = 8;

/** An event word: four flags, and below them the next port of the queue (`EVTCHN_FIFO_*`). */
export const FifoBit = {
  /** An event came. */
  pending: 0x8000_0000,
  /** Events are to wait. */
  masked: 0x4000_0000,
  /** The port is in a queue. */
  linked: 0x2000_0000,
  /** The hypervisor is changing the link: the guest waits. Never set here: a link is made in one step. */
  busy: 0x1000_0000,
  /** The next port; 0: it is the last. */
  link: 0x0001_ffff,
} as const;

/** Bits of a port that say which event word of a page is its; those above, which page. */
export const FIFO_WORD_BITS = 10;
/** Event words of a page. */
export const FIFO_WORDS_PER_PAGE = 1 << FIFO_WORD_BITS;
