/**
 * Which VI a register page is: asked at each doorbell. The VIs' contexts say; where a page was last found is
 * remembered, and believed only if its context still says so.
 */
import type { NicPlan } from './plan.js';
import { ViState, ViWord } from './state.js';

const HINTS = 64;
const PAGE_SHIFT = 12;

/** The register pages of one NIC's VIs. */
export class RegisterPages {
  private readonly hints = new Int32Array(HINTS);

  constructor(
    private readonly words: Int32Array,
    private readonly plan: NicPlan,
  ) {
    this.hints.fill(plan.viBase);
  }

  /** First word of the live VI whose register page is at address `page`; -1 when there is none. */
  find(page: number): number {
    const hint = (page >>> PAGE_SHIFT) & (HINTS - 1);
    const vi = this.hints[hint]!;
    if (this.is(vi, page)) return vi;
    const { viBase, vis } = this.plan;
    for (let at = viBase; at < viBase + vis * ViWord.size; at += ViWord.size) {
      if (!this.is(at, page)) continue;
      this.hints[hint] = at;
      return at;
    }
    return -1;
  }

  private is(vi: number, page: number): boolean {
    const { words } = this;
    if (words[vi + ViWord.registerPage] !== page) return false;
    const state = words[vi + ViWord.state];
    return state === ViState.live || state === ViState.draining;
  }
}
