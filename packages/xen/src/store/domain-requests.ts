/**
 * The requests about domains, features, limits and the store itself; nearly all for domain 0 only.
 *
 * Rows as in requests.ts. What a toolstack does through these, a machine that holds the server may do by its
 * methods.
 */
import { isRealDomid, parseDomid, PRIVILEGED_DOMID, RESERVED_DOMIDS } from './domid.js';
import { ALL_FEATURES } from './domains.js';
import { StoreError } from './error.js';
import { isPrivileged } from './permissions.js';
import { isQuotaName, NO_COUNTS, QUOTA_NAMES, QUOTAS, type CountedItem, type QuotaName } from './quota.js';
import {
  DONE,
  malformed,
  oneString,
  parseDecimal,
  replyWith,
  type Reply,
  type RequestContext,
  type RequestRow,
} from './requests.js';
import type { StoreState } from './state.js';
import { MessageType, splitStrings } from './wire.js';

/** The strings of a payload; one empty string, which some clients send for none, is none. */
function argumentsOf(payload: Uint8Array): string[] {
  const { strings } = splitStrings(payload);
  return strings.length === 1 && strings[0] === '' ? [] : strings;
}

function domidFrom(text: string | undefined): number {
  return (text === undefined ? undefined : parseDomid(text)) ?? malformed("a domain's number");
}

/** A domain other than 0 that the store talks to. */
function introducedGuest(state: StoreState, domid: number): number {
  if (domid === PRIVILEGED_DOMID)
    throw new StoreError('EINVAL', 'domain 0 can be neither released nor resumed');
  if (!state.domains.isIntroduced(domid)) throw new StoreError('ENOENT', `domain ${domid} is not introduced`);
  return domid;
}

const SIGNED_DECIMAL = /^-?\d{1,20}$/;

function introduce({ state, payload }: RequestContext): Reply {
  const [domidText, gfnText, portText] = splitStrings(payload).strings;
  const domid = domidFrom(domidText);
  const gfn = SIGNED_DECIMAL.test(gfnText ?? '') ? Number(gfnText) : NaN;
  const port = parseDecimal(portText ?? '');
  if (domid === PRIVILEGED_DOMID || !isRealDomid(domid) || Number.isNaN(gfn) || port === 0)
    malformed('the number of a guest, a frame number and an event channel port');
  // The domain starts over on its ring: nothing that it set up before is there any more.
  for (const connection of state.connections) if (connection.domid === domid) connection.reset();
  state.introduce(domid);
  state.options.onIntroduce?.({ domid, gfn, port });
  return DONE;
}

function release({ state, payload }: RequestContext): Reply {
  state.release(introducedGuest(state, domidFrom(oneString(payload))));
  return DONE;
}

function resume({ state, payload }: RequestContext): Reply {
  state.domains.record(introducedGuest(state, domidFrom(oneString(payload)))).shutdown = false;
  return DONE;
}

function isDomainIntroduced({ state, payload }: RequestContext): Reply {
  const domid = domidFrom(oneString(payload));
  return replyWith(domid === RESERVED_DOMIDS.SELF || state.domains.isIntroduced(domid) ? 'T' : 'F');
}

function setTarget({ state, payload }: RequestContext): Reply {
  const [domid, target] = splitStrings(payload).strings.map(domidFrom);
  if (domid === undefined || target === undefined) return malformed("two domains' numbers");
  state.domains.record(introducedGuest(state, domid)).target = introducedGuest(state, target);
  return DONE;
}

function getFeature({ state, caller, payload }: RequestContext): Reply {
  const texts = argumentsOf(payload);
  if (texts.length === 0) return replyWith(String(state.domains.featuresOf(caller.domid)));
  if (!isPrivileged(caller))
    throw new StoreError('EACCES', "only domain 0 may ask for another domain's features");
  if (texts.length > 1) malformed('at most one domain number');
  return replyWith(String(state.domains.featuresOf(existing(state, texts[0]))));
}

function setFeature({ state, payload }: RequestContext): Reply {
  const [domidText, featuresText, ...more] = splitStrings(payload).strings;
  if (featuresText === undefined || more.length > 0) malformed("a domain's number and its features");
  const domid = existing(state, domidText);
  const features = parseDecimal(featuresText);
  if (state.domains.isIntroduced(domid))
    throw new StoreError('EBUSY', `domain ${domid} is introduced: its features are settled`);
  if (features > ALL_FEATURES || (features & ~ALL_FEATURES) !== 0)
    throw new StoreError('EINVAL', `the store has the features ${ALL_FEATURES}, not all of ${features}`);
  state.domains.record(domid).features = features;
  return DONE;
}

function existing(state: StoreState, text: string | undefined): number {
  const domid = domidFrom(text);
  if (!state.domainExists(domid)) throw new StoreError('ENOENT', `there is no domain ${domid}`);
  return domid;
}

function quotaNameFrom(text: string | undefined): QuotaName {
  if (text === undefined || !isQuotaName(text)) return malformed(`one of ${QUOTA_NAMES.join(', ')}`);
  return text;
}

function getQuota({ state, payload }: RequestContext): Reply {
  const texts = argumentsOf(payload);
  if (texts.length === 0) return replyWith(QUOTA_NAMES.join(' '));
  if (texts.length > 2) malformed("perhaps a domain's number, and a quota");
  const domid = texts.length === 2 ? existing(state, texts[0]) : undefined;
  return replyWith(String(state.quotas.get(quotaNameFrom(texts.at(-1)), domid)));
}

function setQuota({ state, payload }: RequestContext): Reply {
  const { strings } = splitStrings(payload);
  if (strings.length < 2 || strings.length > 3) malformed("perhaps a domain's number, a quota and its value");
  const domid = strings.length === 3 ? existing(state, strings[0]) : undefined;
  state.quotas.set(quotaNameFrom(strings.at(-2)), parseDecimal(strings.at(-1)!), domid);
  return DONE;
}

function quotaReport(state: StoreState, texts: readonly string[]): string {
  if (texts.length > 1) malformed("nothing, or a domain's number");
  if (texts[0] === undefined)
    return QUOTA_NAMES.map((name) => `${name}: ${state.quotas.get(name)} (${QUOTAS[name].counts})\n`).join(
      '',
    );
  const domid = existing(state, texts[0]);
  const items = Object.keys(NO_COUNTS) as CountedItem[];
  const lines = items.map(
    (item) => `${item}: ${state.ledger.count(domid, item)} of ${state.quotas.get(item, domid)}\n`,
  );
  return `Domain ${domid}:\n${lines.join('')}`;
}

interface Command {
  readonly form: string;
  readonly run: (state: StoreState, texts: readonly string[]) => string;
}

const COMMANDS: ReadonlyMap<string, Command> = new Map<string, Command>([
  ['check', { form: '', run: (state) => state.checkAccounts().join('\n') || 'OK' }],
  [
    'help',
    { form: '', run: () => [...COMMANDS].map(([name, { form }]) => `${name} ${form}`.trim()).join('\n') },
  ],
  [
    'print',
    {
      form: '<string>',
      run: (state, texts) => {
        state.options.log?.(`control: ${texts.join(' ')}`);
        return 'OK';
      },
    },
  ],
  ['quota', { form: '[<domid>]', run: quotaReport }],
]);

function control({ state, payload }: RequestContext): Reply {
  const [name, ...texts] = splitStrings(payload).strings;
  const command = COMMANDS.get(name ?? '');
  if (command === undefined) return malformed(`a command: ${[...COMMANDS.keys()].join(', ')}`);
  return replyWith(command.run(state, texts));
}

/** The requests about domains and the store. */
export const DOMAIN_REQUESTS: ReadonlyMap<number, RequestRow> = new Map<number, RequestRow>([
  [MessageType.CONTROL, { answer: control, privileged: true }],
  [MessageType.INTRODUCE, { answer: introduce, privileged: true }],
  [MessageType.RELEASE, { answer: release, privileged: true }],
  [MessageType.RESUME, { answer: resume, privileged: true }],
  [MessageType.IS_DOMAIN_INTRODUCED, { answer: isDomainIntroduced, privileged: true }],
  [MessageType.SET_TARGET, { answer: setTarget, privileged: true }],
  [MessageType.GET_FEATURE, { answer: getFeature }],
  [MessageType.SET_FEATURE, { answer: setFeature, privileged: true }],
  [MessageType.GET_QUOTA, { answer: getQuota, privileged: true }],
  [MessageType.SET_QUOTA, { answer: setQuota, privileged: true }],
]);
