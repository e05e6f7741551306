/**
 * What carries whole messages between a client and its server.
 *
 * A transport keeps the order of what it carries. The client sets both handlers when it is made; messages that
 * arrive earlier wait. Bytes handed to `send` or to a handler are the receiver's.
 */

/** A client's end of a connection. */
export interface StoreTransport {
  /** Takes one whole message. After the connection ended it does nothing. */
  send(message: Uint8Array): void;
  /** Sets who gets the messages that arrive, one whole message per call. */
  onMessage(handler: (message: Uint8Array) => void): void;
  /** Sets who is told that the other side ended the connection. Not called after `close` here. */
  onClosed(handler: (reason: string) => void): void;
  /** Ends the connection. Idempotent. */
  close(): void;
}
