import { describe, expect, it } from 'vitest';
import {
  AcceleratorRegistry,
  CONTRACT_VERSION,
  OLDEST_CONTRACT,
  acceptedContracts,
  checkContract,
  declined,
  reasonName,
  declineReasons,
  Verdict,
} from '../src/index.js';
import type { Candidate, Definition } from '../src/index.js';

const plugin = (name: string, contract = CONTRACT_VERSION): Definition => ({
  name,
  version: '1.0.0',
  contract,
});

function device(log: string[], id: string, slow?: Promise<void>): Candidate<Definition> {
  return {
    available: (d) => log.push(`${id}+${d.name}`),
    unavailable: async (d) => {
      log.push(`${id}-${d.name}`);
      await slow;
      log.push(`${id}.${d.name}`);
    },
  };
}

describe('AcceleratorRegistry', () => {
  it.each(['plugin first', 'device first'])('ends in the same state: %s', (order) => {
    const log: string[] = [];
    const registry = new AcceleratorRegistry();
    const steps = [() => registry.register(plugin('p')), () => registry.want('p', device(log, 'd'))];
    for (const step of order === 'plugin first' ? steps : steps.reverse()) step();
    expect(log).toEqual(['d+p']);
    expect(registry.describe()).toEqual([{ name: 'p', version: '1.0.0', devices: 1 }]);
  });

  it('defect 1.8 #4: compares names whole, both ways', () => {
    const log: string[] = [];
    const registry = new AcceleratorRegistry();
    registry.want('nic', device(log, 'short'));
    registry.want('nic-v2', device(log, 'long'));
    registry.register(plugin('nic-v'));
    expect(log).toEqual([]);
    registry.register(plugin('nic'));
    expect(log).toEqual(['short+nic']);
  });

  it('returns from unregister only when every device is out, and reattaches on return', async () => {
    const log: string[] = [];
    const registry = new AcceleratorRegistry();
    let release = (): void => undefined;
    registry.register(plugin('p'));
    registry.want('p', device(log, 'a', new Promise((r) => (release = r))));
    registry.want('p', device(log, 'b'));
    let returned = false;
    const gone = registry.unregister('p').then(() => (returned = true));
    await Promise.resolve();
    await Promise.resolve();
    expect(log).toEqual(['a+p', 'b+p', 'a-p', 'b-p', 'b.p']);
    expect(returned).toBe(false);
    release();
    await gone;
    log.length = 0;
    registry.register(plugin('p'));
    expect(log).toEqual(['a+p', 'b+p']);
  });

  it('tells who follows every plugin that comes and goes, after those that want it by name', async () => {
    const log: string[] = [];
    const registry = new AcceleratorRegistry();
    let release = (): void => undefined;
    registry.register(plugin('before'));
    const stop = registry.follow(device(log, 'f', new Promise((r) => (release = r))));
    registry.want('p', device(log, 'd'));
    registry.register(plugin('p'));
    expect(log).toEqual(['d+p', 'f+p']);
    let returned = false;
    const gone = registry.unregister('p').then(() => (returned = true));
    await Promise.resolve();
    await Promise.resolve();
    expect(log.slice(2)).toEqual(['d-p', 'f-p', 'd.p']);
    expect(returned).toBe(false);
    release();
    await gone;
    stop();
    registry.register(plugin('q'));
    expect(log.filter((line) => line.startsWith('f'))).toEqual(['f+p', 'f-p', 'f.p']);
  });

  it('loads on demand, once, and says why a load failed', async () => {
    const asked: string[] = [];
    const failed: string[] = [];
    const registry: AcceleratorRegistry<Definition> = new AcceleratorRegistry(
      (name) => {
        asked.push(name);
        if (name !== 'good') return Promise.reject(new Error('not there'));
        registry.register(plugin(name));
        return Promise.resolve();
      },
      (name, reason) => failed.push(`${name}: ${reason}`),
    );
    const log: string[] = [];
    registry.want('good', device(log, 'a'));
    registry.want('bad', device(log, 'b'));
    registry.want('bad', device(log, 'c'));
    await new Promise((r) => setImmediate(r));
    expect(asked).toEqual(['good', 'bad']);
    expect(failed).toEqual(['bad: not there']);
    expect(log).toEqual(['a+good']);
  });

  it('refuses a second plugin of a name, and one of another contract with both versions and the remedy', () => {
    const registry = new AcceleratorRegistry();
    registry.register(plugin('p'));
    expect(() => {
      registry.register(plugin('p'));
    }).toThrow(/already.*unload it/);
    expect(() => {
      registry.register(plugin('q', CONTRACT_VERSION + 1));
    }).toThrow(
      /q was made for contract version 2; this host speaks 1; run "npm install @netaccel\/host@latest"/,
    );
    expect(() => {
      registry.register(plugin('r', 0));
    }).toThrow(/npm install r@latest/);
  });
});

describe('the contract of a host', () => {
  it('is its own version and the one before, and the first has none before it', () => {
    expect(acceptedContracts(1)).toEqual({ oldest: 1, newest: 1 });
    expect(acceptedContracts(2)).toEqual({ oldest: 1, newest: 2 });
    expect(acceptedContracts(3)).toEqual({ oldest: 2, newest: 3 });
    expect(acceptedContracts()).toEqual({ oldest: OLDEST_CONTRACT, newest: CONTRACT_VERSION });
  });

  it('lets a plugin of either in, and says of any other what both are and what to do', () => {
    const host = acceptedContracts(3);
    for (const seen of [2, 3]) checkContract('p', seen, host);
    for (const seen of [0, 1, 2.5, NaN, '3', undefined])
      expect(() => {
        checkContract('p', seen, host);
      }).toThrow(
        `p was made for contract version ${String(seen)}; this host speaks 2 to 3; run "npm install p@latest"`,
      );
    expect(() => {
      checkContract('p', 4, host);
    }).toThrow('this host speaks 2 to 3; run "npm install @netaccel/host@latest"');
  });
});

describe('verdicts', () => {
  it('name every standard reason, and a plugin its own', () => {
    expect(declineReasons.map((r) => reasonName(declined(r)))).toEqual([...declineReasons]);
    expect(reasonName(Verdict.declined + 32, ['mine'])).toBe('mine');
    expect(reasonName(Verdict.declined + 33, ['mine'])).toBeUndefined();
    expect(reasonName(Verdict.sent)).toBeUndefined();
  });
});
