import { describe, expect, it } from 'vitest';
import { canonicalPath, childOf, domainPath, PATH_LIMITS } from '../../src/store/index.js';
import { depthOf, leafOf, parentOf } from '../../src/store/path.js';

describe('a path', () => {
  it.each([
    ['/', '/'],
    ['/a/b-c_d@e/F9', '/a/b-c_d@e/F9'],
    ['device/vif/0', '/local/domain/5/device/vif/0'],
    ['x', '/local/domain/5/x'],
    ['@releaseDomain', '@releaseDomain'],
    ['@releaseDomain/7', '@releaseDomain/7'],
    ['@anything', '@anything'],
    [`/${'a'.repeat(3071)}`, `/${'a'.repeat(3071)}`],
    ['a'.repeat(2048), `/local/domain/5/${'a'.repeat(2048)}`],
  ])('%.40s is valid', (path, canonical) => {
    expect(canonicalPath(path, 5)).toBe(canonical);
  });

  it.each([
    ['', 'is empty'],
    ['/a/', 'ends in a slash'],
    ['a/', 'ends in a slash'],
    ['//', 'ends in a slash'],
    ['/a//b', 'doubled slash'],
    ['a//b', 'doubled slash'],
    ['/a b', 'character'],
    ['/a.b', 'character'],
    ['/a\nb', 'character'],
    ['/a\n', 'character'],
    ['/\u00e9', 'character'],
    [`/${'a'.repeat(3072)}`, '3072'],
    ['a'.repeat(2049), '2048'],
    ['/a'.repeat(PATH_LIMITS.depth + 1), 'names'],
  ])('%.40s is EINVAL', (path, problem) => {
    expect(() => canonicalPath(path, 5)).toThrow(expect.objectContaining({ code: 'EINVAL' }) as Error);
    expect(() => canonicalPath(path, 5)).toThrow(problem);
  });

  it('has parts', () => {
    expect(['/', '/a', '/a/b', '@x', '@x/1'].map(parentOf)).toEqual([undefined, '/', '/a', undefined, '@x']);
    expect(['/', '/a', '/a/b', '@x'].map(leafOf)).toEqual(['', 'a', 'b', '@x']);
    expect(['/', '/a', '/a/b', '@x', '@x/1'].map(depthOf)).toEqual([0, 1, 2, 0, 1]);
    expect([childOf('/', 'a'), childOf('/a', 'b')]).toEqual(['/a', '/a/b']);
    expect(domainPath(7)).toBe('/local/domain/7');
  });
});
