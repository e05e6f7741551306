/**
 * A backend that does what a test says, lies included: raw slots on real rings. It follows the handshake when it
 * was started, and answers nothing by itself unless `echoing` or `answering` says so.
 */
import { XenbusState, backendReaction, parseState, readState, switchState, watchState } from '@netaccel/xen';
import type { XenbusStateValue } from '@netaccel/xen';
import type { SimDomain } from '@netaccel/xen/sim';
import type { Watch } from '@netaccel/xen/store';
import { BackendQueue } from './scripted-queue.js';
import type { TxPacket } from './scripted-queue.js';

export const MODERN_BACKEND: Readonly<Record<string, string>> = {
  'feature-rx-copy': '1',
  'feature-sg': '1',
  'feature-gso-tcpv4': '1',
  'feature-gso-tcpv6': '1',
  'feature-ipv6-csum-offload': '1',
  'feature-split-event-channels': '1',
  'multi-queue-max-queues': '4',
};

/** The backend half of one vif. */
export class ScriptedBackend {
  readonly queues: BackendQueue[] = [];
  readonly path: string;
  readonly frontPath: string;
  /** Takes and answers what the guest sends, and remembers it. */
  answering = false;
  readonly taken: TxPacket[] = [];
  state: XenbusStateValue = XenbusState.Unknown;
  /** Whether it follows the frontend's state. */
  following = true;
  /** What happened, by name of the reaction. */
  readonly reactions: string[] = [];
  onEvent: (queue: BackendQueue) => void = () => undefined;
  private watch: Watch | null = null;
  private work: Promise<void> = Promise.resolve();

  constructor(
    readonly domain: SimDomain,
    readonly guest: number,
    handle: number,
    private readonly offers: Readonly<Record<string, string | null>>,
  ) {
    this.path = `/local/domain/${domain.id}/backend/vif/${guest}/${handle}`;
    this.frontPath = `/local/domain/${guest}/device/vif/${handle}`;
  }

  get queue(): BackendQueue {
    const [queue] = this.queues;
    if (queue === undefined) throw new Error('the backend is not connected');
    return queue;
  }

  /** Writes its features, goes to InitWait, and follows the frontend. */
  async start(): Promise<void> {
    await this.advertise();
    this.watch = await watchState(
      this.domain.store,
      this.frontPath,
      () => {
        this.work = this.work.then(() => this.react());
      },
      (error) => {
        throw error;
      },
    );
  }

  async advertise(): Promise<void> {
    for (const [key, value] of Object.entries({ ...MODERN_BACKEND, ...this.offers }))
      if (value !== null) await this.write(key, value);
    await this.set(XenbusState.InitWait);
  }

  /** Writes a key of its directory, readable by the guest. */
  async write(key: string, value: string): Promise<void> {
    await this.domain.store.write(`${this.path}/${key}`, value);
  }

  async set(state: XenbusStateValue): Promise<void> {
    this.state = state;
    await switchState(this.domain.store, this.path, state);
  }

  /** Reads the frontend's keys, maps and binds. */
  async connect(): Promise<void> {
    const read = (key: string) => this.domain.store.readOptional(`${this.frontPath}/${key}`);
    const count = Number((await read('multi-queue-num-queues')) ?? 1);
    for (let i = 0; i < count; i++) {
      const at = (key: string) => read(count === 1 ? key : `queue-${i}/${key}`);
      const split = await at('event-channel-rx');
      this.queues.push(
        new BackendQueue(
          this.domain,
          this.guest,
          {
            txRef: Number(await at('tx-ring-ref')),
            rxRef: Number(await at('rx-ring-ref')),
            txPort: Number(split === null ? await at('event-channel') : await at('event-channel-tx')),
            rxPort: split === null ? null : Number(split),
          },
          (queue) => this.event(queue),
        ),
      );
    }
  }

  disconnect(): void {
    for (const queue of this.queues.splice(0)) queue.close();
  }

  /** Closes from its own side, as an unplug does. */
  async close(): Promise<void> {
    await this.set(XenbusState.Closing);
  }

  async stop(): Promise<void> {
    await this.work;
    await this.watch?.remove();
    this.watch = null;
    this.disconnect();
  }

  private event(queue: BackendQueue): void {
    if (this.answering) {
      const packets = queue.take();
      this.taken.push(...packets);
      queue.answer(packets);
    }
    this.onEvent(queue);
  }

  private async react(): Promise<void> {
    if (!this.following) return;
    const seen = await readState(this.domain.store, this.frontPath);
    const own = parseState(await this.domain.store.readOptional(`${this.path}/state`));
    const reaction = backendReaction(own, seen);
    if (reaction !== 'none') this.reactions.push(reaction);
    switch (reaction) {
      case 'connect':
        await this.connect();
        await this.set(XenbusState.Connected);
        break;
      case 'close':
        this.disconnect();
        await this.set(XenbusState.Closing);
        break;
      case 'closed':
        this.disconnect();
        await this.set(XenbusState.Closed);
        break;
      case 'reconnect':
        this.disconnect();
        await this.set(XenbusState.Closing);
        await this.set(XenbusState.Closed);
        await this.advertise();
        break;
      case 'advertise':
        await this.advertise();
        break;
      case 'remove':
        this.disconnect();
        break;
      default:
        break;
    }
  }
}
