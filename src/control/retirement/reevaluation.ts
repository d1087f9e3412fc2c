/** One version on one labelled window of the lake. */
export interface Reevaluation {
  model: string
  versionId: string
  /** Start of the window, calendar. */
  windowMs: number
  rows: number
  /** Null: it could not be measured. */
  meanLoss: number | null
  /** Mean loss of the constant on the same rows plus the margin; above it the version fails. */
  floor: number | null
  verdict: 'passed' | 'failed' | 'insufficient' | 'suspected' | 'error'
  why: string
  /** Whether the window's rows passed the data checks; only then does it count. */
  dataPassed: boolean
  atMs: number
}

/** Two consecutive windows below the floor, each with data that passed its checks. @returns why, or null. Pure. */
export function outdatedBy(windows: Reevaluation[], versionId: string, windowMs: number): string | null {
  const mine = windows
    .filter((w) => w.versionId === versionId && w.verdict !== 'insufficient' && w.verdict !== 'error')
    .toSorted((a, b) => b.windowMs - a.windowMs)
  const [last, before] = mine
  if (last === undefined || before === undefined || last.windowMs - before.windowMs !== windowMs) return null
  const both = [before, last]
  if (!both.every((w) => w.verdict === 'failed' && w.dataPassed)) return null
  return `below the floor in two consecutive windows: ${both.map((w) => w.why).join('; ')}`
}

export interface MeasuredVersion {
  versionId: string
  rows: number
  meanLoss: number | null
  why: string | null
}

/**
 * What a window says about every version that was measured on it. When all of them fail together it is the data that
 * is suspected, and none of them is outdated by it. Pure.
 */
export function judgeWindow(window: {
  versions: MeasuredVersion[]
  rows: number
  minRows: number
  constantLoss: number | null
  margin: number
  /** Null: the data checks passed. */
  dataTrouble: string | null
}): {
  dataPassed: boolean
  suspected: string | null
  verdicts: Pick<Reevaluation, 'versionId' | 'rows' | 'meanLoss' | 'floor' | 'verdict' | 'why'>[]
} {
  const { versions, rows, minRows, constantLoss, margin, dataTrouble } = window
  const floor = constantLoss === null ? null : constantLoss + margin
  const measured = versions.filter((v) => v.meanLoss !== null)
  const enough = rows >= minRows && floor !== null
  const failing = enough ? measured.filter((v) => v.meanLoss! > floor) : []
  // A single version can't tell a bad version from bad data.
  const together = failing.length > 0 && failing.length === measured.length
  const suspected = !enough
    ? null
    : (dataTrouble ??
      (together
        ? `every version that was measured (${failing.length}) is below the floor ${floor.toPrecision(4)}`
        : null))
  const verdicts = versions.map((v) => {
    const base = { versionId: v.versionId, rows: v.rows, meanLoss: v.meanLoss, floor }
    if (v.meanLoss === null) return { ...base, verdict: 'error' as const, why: v.why ?? 'it could not be measured' }
    if (!enough) return { ...base, verdict: 'insufficient' as const, why: `${rows} labelled rows of ${minRows}` }
    const figures = `mean loss ${v.meanLoss.toPrecision(4)}, floor ${floor.toPrecision(4)}, ${rows} rows`
    if (v.meanLoss <= floor) return { ...base, verdict: 'passed' as const, why: figures }
    return { ...base, verdict: suspected === null ? ('failed' as const) : ('suspected' as const), why: figures }
  })
  return { dataPassed: enough && suspected === null, suspected, verdicts }
}
