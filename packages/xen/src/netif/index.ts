/**
 * The netif wire format: layouts, flags and limits of Xen's network protocol.
 *
 * @packageDocumentation
 */
export * from './control.js';
export * from './layouts.js';
