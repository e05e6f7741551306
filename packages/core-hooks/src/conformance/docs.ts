/** Where the pages say what a rule holds a plugin to: they come with the package, so whoever runs the kit has them. */
const HOOKS = 'node_modules/@netaccel/core-hooks/dist/docs/hooks.md';

/** By what a rule is about. */
export const Docs = {
  front: `${HOOKS}#the-front-half`,
  back: `${HOOKS}#the-back-half`,
  order: `${HOOKS}#order`,
  versions: `${HOOKS}#versions`,
} as const;
