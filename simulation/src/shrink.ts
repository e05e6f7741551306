/**
 * Makes a failing sequence short: leaves out ever smaller runs of it while it still fails (delta debugging, Zeller
 * and Hildebrandt 2002).
 */

/**
 * @param sequence one that fails.
 * @param fails whether a part of it fails, too.
 * @returns a part of which no single element can be left out.
 */
export async function shrink<T>(
  sequence: readonly T[],
  fails: (part: readonly T[]) => Promise<boolean>,
): Promise<readonly T[]> {
  let best = sequence;
  for (let run = Math.ceil(best.length / 2); run >= 1;) {
    let shorter = false;
    for (let at = 0; at < best.length;) {
      const part = [...best.slice(0, at), ...best.slice(at + run)];
      if (part.length < best.length && (await fails(part))) {
        best = part;
        shorter = true;
      } else at += run;
    }
    if (run === 1 && !shorter) break;
    if (!shorter || run > best.length) run = Math.max(1, Math.floor(run / 2));
  }
  return best;
}
