/**
 * The attaching of one plugin to one vif: the guest's mailbox, the quotas, the services, `probe`. Everything got
 * on the way goes into the plugin's scope, so a failure at any step is undone by closing that.
 */
import type {
  BackendAccelerator,
  BackendAcceleratorDefinition,
  CreditHandler,
  MailboxError,
  NicPortHold,
  ReceiveFence,
  VifIdentity,
} from '@netaccel/core-hooks';
import { attachMailbox } from '@netaccel/xen';
import type { Domain, DomainId } from '@netaccel/xen';
import { FrontendKeyError, parseNumber } from './keys.js';
import { readQuotas } from './quotas.js';
import type { PluginScope } from './scope.js';
import { makeServices } from './services.js';

/** What an attachment is made from. */
export interface AttachParts {
  readonly domain: Domain;
  readonly guest: DomainId;
  readonly definition: BackendAcceleratorDefinition;
  readonly hold: NicPortHold;
  readonly vif: VifIdentity;
  /** The vif's directories: this half's, and the guest's. */
  readonly path: string;
  readonly frontendPath: string;
  /** Limit of the plugin's request that does not say. */
  readonly requestTimeoutMs: number;
  readonly scope: PluginScope;
  fence(): Promise<ReceiveFence>;
  rateBytesPerSecond(): number;
  shareCredit(fast: CreditHandler): () => void;
  failed(reason: string): void;
}

/** Keys of the guest's `accel/` directory that say how to reach its mailbox. */
const MAILBOX_KEYS = ['mailbox-ref-0', 'mailbox-ref-1', 'mailbox-event-channel'] as const;

/**
 * Attaches; resolves to the plugin's half.
 * @throws FrontendKeyError, MachineError, StoreError, and whatever `probe` rejects with.
 */
export async function attachPlugin(parts: AttachParts): Promise<BackendAccelerator> {
  const { domain, guest, definition, scope, path, frontendPath } = parts;
  const peerPath = `${frontendPath}/accel`;
  const texts = await domain.store.transaction(async (transaction) => {
    const read: (string | null)[] = [];
    for (const key of MAILBOX_KEYS)
      read.push(await domain.store.readOptional(`${peerPath}/${key}`, transaction));
    return read;
  });
  const [first, second, port] = texts.map((text, i) => {
    const value = parseNumber(text);
    if (value !== null) return value;
    throw new FrontendKeyError(
      `${peerPath}/${MAILBOX_KEYS[i]!}: expected a decimal number of 32 bits, saw ${text === null ? 'nothing' : JSON.stringify(text.slice(0, 40))}`,
    );
  });
  const limits = await readQuotas(domain.store, path);
  // The vif may have gone while the keys were read.
  scope.check('attach');
  // A guest that closes its end in order says so by its state, too; one that breaks the rules is done with.
  const onEnded = (error: MailboxError) => {
    if (error.code === 'BREACH')
      parts.failed(`the guest's half broke the rules of the mailbox: ${error.message}`);
  };
  const mailbox = attachMailbox(
    domain,
    guest,
    { refs: [first!, second!], port: port! },
    { onEnded, timeoutMs: parts.requestTimeoutMs },
  );
  scope.own(() => {
    mailbox.close();
  });
  return definition.probe(
    makeServices({
      domain,
      guest,
      contract: definition.contract,
      vif: parts.vif,
      limits,
      port: parts.hold,
      mailbox,
      scope,
      ownPath: `${path}/accel`,
      peerPath,
      title: `vif ${path}: ${definition.name}`,
      fence: () => parts.fence(),
      rateBytesPerSecond: () => parts.rateBytesPerSecond(),
      shareCredit: (fast) => parts.shareCredit(fast),
      failed: (reason) => {
        parts.failed(reason);
      },
    }),
  );
}
