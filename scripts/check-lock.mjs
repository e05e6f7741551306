// Checks each package-lock.json: every optional dependency that some entry names has an entry of its own (npm drops
// platforms that its registry lacked on the day, and `npm ci` then fails elsewhere), and no entry names a host.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/**
 * @typedef {{ optionalDependencies?: Record<string, string>, resolved?: string, link?: boolean }} LockEntry
 * @param {{ packages: Record<string, LockEntry> }} lock
 * @returns {string[]} what is wrong, empty when nothing is
 */
export function lockProblems(lock) {
  const problems = [];
  for (const [where, entry] of Object.entries(lock.packages)) {
    for (const name of Object.keys(entry.optionalDependencies ?? {})) {
      if (!isLocked(lock.packages, where, name))
        problems.push(`${where || '(root)'}: ${name} has no lock entry`);
    }
    if (entry.resolved !== undefined && /^[a-z+]+:/i.test(entry.resolved)) {
      problems.push(`${where}: "resolved" names a host: ${entry.resolved}`);
    }
  }
  return problems;
}

/**
 * Looks where Node would: in the dependant's own node_modules, then in each folder above it.
 * @param {Record<string, LockEntry>} packages
 * @param {string} where
 * @param {string} name
 */
function isLocked(packages, where, name) {
  let folder = where;
  for (;;) {
    if (`${folder === '' ? '' : `${folder}/`}node_modules/${name}` in packages) return true;
    if (folder === '') return false;
    const above = folder.lastIndexOf('/');
    folder = above === -1 ? '' : folder.slice(0, above);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const problems = ['package-lock.json', 'scripts/local-registry/package-lock.json'].flatMap((file) =>
    lockProblems(JSON.parse(readFileSync(new URL(`../${file}`, import.meta.url), 'utf8'))).map(
      (problem) => `${file}: ${problem}`,
    ),
  );
  for (const problem of problems) console.error(problem);
  if (problems.length > 0) {
    console.error(
      'The lock is incomplete. Delete node_modules and package-lock.json and run npm install again;',
    );
    console.error('if a platform is still missing, pin the tool to the newest version that has all of them.');
    process.exitCode = 1;
  } else {
    console.log('Both package-lock.json are complete.');
  }
}
