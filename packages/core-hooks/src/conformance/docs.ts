/** Where the pages say what a rule holds a plugin to. */
export const Docs = {
  front: 'docs/plugin-authors/hooks.md#the-front-half',
  back: 'docs/plugin-authors/hooks.md#the-back-half',
  order: 'docs/plugin-authors/hooks.md#order',
  versions: 'docs/plugin-authors/hooks.md#versions',
} as const;
