// What a registry has of our packages, and whether that is what was installed.

/** By name and version, the integrity of each package's archive. @typedef {Map<string, Map<string, string>>} Published */
/** @typedef {{ resolved?: string, integrity?: string, version?: string, link?: boolean }} LockEntry */

/**
 * Asks the registry for the packages.
 * @param {string} registry @param {readonly string[]} names
 * @returns {Promise<Published>}
 */
export async function publishedPackages(registry, names) {
  /** @type {Published} */
  const published = new Map();
  for (const name of names) {
    const answer = await fetch(new URL(name.replace('/', '%2f'), registry));
    if (!answer.ok) throw new Error(`the registry has no ${name}: status ${answer.status}`);
    const { versions } = /** @type {{ versions: Record<string, { dist: { integrity: string } }> }} */ (
      await answer.json()
    );
    const archives = Object.entries(versions).map(
      ([version, { dist }]) => /** @type {const} */ ([version, dist.integrity]),
    );
    published.set(name, new Map(archives));
  }
  return published;
}

/**
 * Holds a lock file against what was published: each of our packages came from the registry, once, with the bytes that
 * were published there, and nothing else did.
 * @param {unknown} lock a package-lock.json
 * @param {string} registry its address
 * @param {Published} published
 * @param {readonly string[]} wanted packages that have to be there
 * @returns {string[]} what is wrong, empty when nothing is
 */
export function lockProblems(lock, registry, published, wanted) {
  const { packages = {} } = /** @type {{ packages?: Record<string, LockEntry> }} */ (lock);
  const problems = [];
  const seen = new Set();
  for (const [where, entry] of Object.entries(packages)) {
    if (where === '') continue;
    const name = where.slice(where.lastIndexOf('node_modules/') + 'node_modules/'.length);
    const archives = published.get(name);
    if (archives === undefined) {
      if (entry.resolved?.startsWith(registry))
        problems.push(`${where}: came from ${registry}, which was not given it`);
      continue;
    }
    if (seen.has(name)) problems.push(`${where}: a second copy of ${name}`);
    seen.add(name);
    if (!entry.resolved?.startsWith(registry))
      problems.push(`${where}: expected it from ${registry}, saw ${entry.resolved ?? 'no address'}`);
    const expected = archives.get(entry.version ?? '');
    if (expected === undefined)
      problems.push(`${where}: version ${entry.version ?? 'none'} was not published`);
    else if (entry.integrity !== expected)
      problems.push(`${where}: expected the archive ${expected}, saw ${entry.integrity ?? 'none'}`);
  }
  for (const name of wanted) if (!seen.has(name)) problems.push(`${name}: not installed`);
  return problems;
}
