/** What the guard knows of a model, newest first, since a person last lifted its freeze. Backfills are left out. */
export interface StabilityView {
  /** Runs that have ended, cancelled ones apart. */
  runs: { id: string; isGood: boolean; why: string }[]
  /** Verdicts: whether it could be measured, and what its `stability` check said. */
  evaluations: { version: string; isValid: boolean; isStable: boolean; why: string }[]
  /** Its own freeze is active. */
  isFrozen: boolean
}

export type StabilityDecision =
  | { kind: 'none' }
  | { kind: 'freeze'; why: string; unfreezes: string }
  | { kind: 'unfreeze'; why: string }

/** So many of the newest are looked at; so many good ones in a row end a freeze. */
export const STABILITY_WINDOW = 3
const BAD_MIN = 2

const UNFREEZES = `${STABILITY_WINDOW} good runs and evaluations in a row, or 'millrace unfreeze'`

/** Whether what is trained and measured is steady enough to be released by itself. Pure. */
export function decideStability({ runs, evaluations, isFrozen }: StabilityView): StabilityDecision {
  const [lastRuns, lastEvaluations] = [runs.slice(0, STABILITY_WINDOW), evaluations.slice(0, STABILITY_WINDOW)]
  if (isFrozen) {
    const isBack =
      lastRuns.length === STABILITY_WINDOW &&
      lastRuns.every(({ isGood }) => isGood) &&
      lastEvaluations.every(({ isValid, isStable }) => isValid && isStable)
    if (!isBack) return { kind: 'none' }
    return { kind: 'unfreeze', why: `the last ${STABILITY_WINDOW} runs and evaluations are good` }
  }
  const failed = lastRuns.filter(({ isGood }) => !isGood)
  if (failed.length >= BAD_MIN)
    return freeze(`${failed.length} of the last ${lastRuns.length} runs failed`, failed[0]!.id, failed[0]!.why)
  const invalid = lastEvaluations.filter(({ isValid }) => !isValid)
  if (invalid.length >= BAD_MIN) {
    const what = `${invalid.length} of the last ${lastEvaluations.length} evaluations could not measure`
    return freeze(what, invalid[0]!.version, invalid[0]!.why)
  }
  const newest = lastEvaluations.slice(0, BAD_MIN)
  if (newest.length === BAD_MIN && newest.every(({ isStable }) => !isStable))
    return freeze(`the last ${BAD_MIN} versions failed on stability`, newest[0]!.version, newest[0]!.why)
  return { kind: 'none' }
}

function freeze(what: string, which: string, why: string): StabilityDecision {
  return { kind: 'freeze', why: `${what}; ${which}: ${why}`, unfreezes: UNFREEZES }
}
