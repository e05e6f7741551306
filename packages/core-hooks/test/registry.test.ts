import { describe, expect, it } from 'vitest';
import {
  AcceleratorRegistry,
  CONTRACT_VERSION,
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

  it('compares names whole, both ways (1.8 defect 4)', () => {
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

describe('verdicts', () => {
  it('name every standard reason, and a plugin its own', () => {
    expect(declineReasons.map((r) => reasonName(declined(r)))).toEqual([...declineReasons]);
    expect(reasonName(Verdict.declined + 32, ['mine'])).toBe('mine');
    expect(reasonName(Verdict.declined + 33, ['mine'])).toBeUndefined();
    expect(reasonName(Verdict.sent)).toBeUndefined();
  });
});
