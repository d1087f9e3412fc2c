/** What the gate says: may this version be released? */
export type Verdict = 'passed' | 'failed' | 'inconclusive' | 'error'

/** `warning` and `skipped` are for the reader; they never change the gate's verdict. */
export type CheckVerdict = Verdict | 'warning' | 'skipped'

export interface GateCheck {
  /** `metrics`, `rows`, `clusters`, `threshold:<metric>`, `signature`, `beats-constant`, `champion`, `auc-difference`, `stability` */
  name: string
  verdict: CheckVerdict
  /** One sentence with the numbers. */
  why: string
  figures: Record<string, number | string | boolean | null>
}

export interface GateResult {
  verdict: Verdict
  /** The checks that made the verdict, in one line. */
  why: string
  checks: GateCheck[]
  /**
   * Proven better than the champion: the lower bound of the gain is above 0 (above the margin under `superiority`).
   * A version may pass without it; `release.when: better` asks for it. False without a champion.
   */
  provenBetter: boolean
}

/** The worst of what was found: an error, then a failure, then doubt. */
export function verdictOf(checks: readonly GateCheck[]): Verdict {
  for (const verdict of ['error', 'failed', 'inconclusive'] as const) {
    if (checks.some((check) => check.verdict === verdict)) return verdict
  }
  return 'passed'
}
