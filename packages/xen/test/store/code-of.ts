/** The code that a request of a client fails with, or `none`. */
import { expect } from 'vitest';
import { StoreError } from '../../src/store/index.js';

export async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return 'none';
  } catch (error) {
    expect(error).toBeInstanceOf(StoreError);
    return (error as StoreError).code;
  }
}
