/** The pages for plugin authors go into the package: links between them stay, all others lead to the repository. */
import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { join, posix } from 'node:path';

const REPOSITORY = 'https://github.com/netaccel/netaccel/blob/main';
/** Where the pages are in the repository. */
const PAGES = 'docs/plugin-authors';
const LINK = /\]\((?![a-z]+:|#)([^)\s]+)\)/g;

/** A page as it is shipped. */
export function shipped(page: string): string {
  return page.replace(LINK, (link, target: string) => {
    const path = posix.normalize(posix.join(PAGES, target));
    return posix.dirname(path) === PAGES ? link : `](${REPOSITORY}/${path})`;
  });
}

/** Copies the pages of a folder to another. */
export async function shipPages(from: string, to: string): Promise<void> {
  await mkdir(to, { recursive: true });
  for (const name of await readdir(from))
    await writeFile(join(to, name), shipped(await readFile(join(from, name), 'utf8')));
}
