/** What the daemon needs of the network that vifs are plugged into, whatever kind it is. */
import type { Frame } from '@netaccel/core-hooks';
import { Segmentation } from '@netaccel/core-hooks';
import type { Accelerators, VifName, VifNetwork } from '@netaccel/netback';

/** What passed a network since it was made; only ever grows. */
export interface Traffic {
  /** Frames of guests, as the drivers handle them: a large segment is one. */
  frames: number;
  /** The same as frames on a wire: a large segment is as many as it is cut into. */
  wireFrames: number;
  /** Bytes of them. */
  bytes: number;
  /** System calls for reading and writing them. */
  systemCalls: number;
}

/** A network. */
export interface BackendNetwork {
  /** For people: `bridge xenbr0`. */
  readonly name: string;
  /** Plugins and the card that they drive, where the network has one. */
  readonly accelerators?: Accelerators | undefined;
  /** What is wrong with it as a whole, and what to do; undefined when nothing is. Asked once, before the first vif. */
  obstacle(): Promise<string | undefined>;
  /** Makes the network side of a vif. Rejects with the reason when it cannot be made. */
  open(vif: VifName): Promise<VifNetwork>;
  /** What passed. */
  traffic(): Readonly<Traffic>;
  /** State, for people. */
  describe(): Readonly<Record<string, unknown>>;
  /** Gives back what is not a vif's. After the last vif has gone. */
  close(): void;
}

/** Ethernet, IPv4 and TCP headers, which each frame of a large segment has again. */
const HEADER_BYTES = 54;

/** How many frames on a wire one frame is. */
export function wireFrames(frame: Frame): number {
  if (frame.segmentation === Segmentation.none) return 1;
  return Math.max(1, Math.ceil((frame.totalBytes - HEADER_BYTES) / frame.segmentBytes));
}
