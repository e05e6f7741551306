import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Permissions } from '../../src/store/index.js';
import { Tree } from '../../src/store/tree.js';
import { SEED } from './raw-client.js';

const permissions: Permissions = [{ domid: 0, access: 'none' }];
const value = (text: string): Uint8Array => new TextEncoder().encode(text);

function contents(tree: Tree): Record<string, string> {
  return Object.fromEntries(
    [...tree.walk('/')].map(({ path, node }) => [path, new TextDecoder().decode(node.value)]),
  );
}

describe('a tree', () => {
  it('forked is two that change apart', () => {
    const one = Tree.create(['/'], permissions);
    one.put('/a', value('1'), permissions);
    one.put('/a/b', value('2'), permissions);
    const two = one.fork();
    one.put('/a', value('3'), permissions);
    two.put('/a/c', value('4'), permissions);
    two.delete('/a/b');
    expect(contents(one)).toEqual({ '/': '', '/a': '3', '/a/b': '2' });
    expect(contents(two)).toEqual({ '/': '', '/a': '1', '/a/c': '4' });
  });

  it('knows what changed of a node', () => {
    const tree = Tree.create(['/'], permissions);
    tree.put('/a', value(''), permissions);
    const look = (): number[] => [tree.get('/a')!.generation, tree.get('/a')!.contentGeneration];
    const [all, content] = look();
    tree.put('/a/b', value(''), permissions);
    expect(look()[1]).toBe(content);
    expect(look()[0]).toBeGreaterThan(all!);
    const [later] = look();
    tree.put('/a/b', value('x'), permissions);
    expect(look()).toEqual([later, content]);
    tree.delete('/a/b');
    expect(look()[0]).toBeGreaterThan(later!);
    expect(tree.get('/a')!.childListBytes).toBe(0);
  });

  it('throws for our own mistakes', () => {
    const tree = Tree.create(['/'], permissions);
    expect(() => tree.put('/a/b', value(''), permissions)).toThrow(/"a" on the way is missing/);
    expect(() => tree.delete('/a')).toThrow(/is not there/);
    expect([...tree.walk('/none')]).toEqual([]);
  });

  it(`and its forks are each as if alone (seed ${SEED})`, () => {
    const names = ['a', 'b', 'c'];
    const path = fc
      .array(fc.constantFrom(...names), { minLength: 1, maxLength: 3 })
      .map((parts) => `/${parts.join('/')}`);
    const action = fc.oneof(
      fc.record({
        kind: fc.constant('put' as const),
        on: fc.nat(3),
        path,
        value: fc.constantFrom('', 'x', 'y'),
      }),
      fc.record({ kind: fc.constant('delete' as const), on: fc.nat(3), path, value: fc.constant('') }),
      fc.record({
        kind: fc.constant('fork' as const),
        on: fc.nat(3),
        path: fc.constant('/'),
        value: fc.constant(''),
      }),
    );
    fc.assert(
      fc.property(fc.array(action, { maxLength: 40 }), (actions) => {
        const trees = [Tree.create(['/'], permissions)];
        const models: Map<string, string>[] = [new Map([['/', '']])];
        for (const { kind, on, path: at, value: text } of actions) {
          const tree = trees[on % trees.length]!;
          const model = models[on % models.length]!;
          const parent = at.slice(0, at.lastIndexOf('/')) || '/';
          if (kind === 'fork') {
            trees.push(tree.fork());
            models.push(new Map(model));
          } else if (kind === 'put' && model.has(parent)) {
            tree.put(at, value(text), permissions);
            model.set(at, text);
          } else if (kind === 'delete' && model.has(at)) {
            tree.delete(at);
            for (const key of [...model.keys()])
              if (key === at || key.startsWith(`${at}/`)) model.delete(key);
          }
        }
        for (const [n, tree] of trees.entries())
          expect(contents(tree)).toEqual(Object.fromEntries(models[n]!));
      }),
      { seed: SEED, numRuns: 200 },
    );
  });
});
