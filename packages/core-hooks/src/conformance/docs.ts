/** Where the pages say what a rule holds a plugin to. */
export const Docs = {
  front: 'docs/plugins.md#the-front-half',
  back: 'docs/plugins.md#the-back-half',
  order: 'docs/plugins.md#order',
  versions: 'docs/plugins.md#versions',
} as const;
