import { reasonOf } from '../../kernel/errors.ts'
import { seededRandom } from '../../kernel/stats/random.ts'
import type { StabilityFigures } from './evaluation.ts'
import type { Block, ModelRunner } from './model-runner.ts'

/** More rows would tell the spread of a few versions no better: it is the versions that are few. */
export const STABILITY_ROWS_MAX = 10_000

/**
 * Rows of the holdout on which earlier versions are measured, ascending: all of them, or a sample without replacement.
 * @see Vitter, "Faster methods for random sampling", CACM 27, 1984, Algorithm S
 */
export function stabilityRows(rows: number, seed: number): Uint32Array {
  const wanted = Math.min(rows, STABILITY_ROWS_MAX)
  const chosen = new Uint32Array(wanted)
  const random = seededRandom(seed)
  for (let row = 0, taken = 0; taken < wanted; row++) {
    if (random.uniform() * (rows - row) < wanted - taken) chosen[taken++] = row
  }
  return chosen
}

/** Earlier versions, scored on some rows while the holdout passes by. One that fails is left out, and says why. */
export class AsideScores {
  readonly #rows: Uint32Array
  readonly #runners: { version: string; runner: ModelRunner; scores: Float64Array; why: string | null }[]
  #next = 0

  constructor(rows: Uint32Array, runners: { version: string; runner: ModelRunner }[]) {
    this.#rows = rows
    this.#runners = runners.map((one) => ({ ...one, scores: new Float64Array(rows.length), why: null }))
  }

  get runners(): ModelRunner[] {
    return this.#runners.map(({ runner }) => runner)
  }

  async score(block: Block, rows: number, firstRow: number): Promise<void> {
    const from = this.#next
    while (this.#next < this.#rows.length && this.#rows[this.#next]! < firstRow + rows) this.#next++
    if (this.#next === from || this.#runners.length === 0) return
    const mine = this.#rows.subarray(from, this.#next)
    const part = mine.length === rows ? block : pick(block, mine, firstRow)
    for (const one of this.#runners) {
      if (one.why !== null) continue
      try {
        for await (const run of one.runner.run(part, mine.length, from)) one.scores.set(run.scores, run.firstRow)
      } catch (error) {
        one.why = reasonOf(error)
      }
    }
  }

  /** @returns of each version its scores on the rows, or why there are none */
  results(): ({ version: string } & ({ scores: Float64Array } | { why: string }))[] {
    return this.#runners.map(({ version, scores, why }) => (why === null ? { version, scores } : { version, why }))
  }
}

function pick(block: Block, rows: Uint32Array, firstRow: number): Block {
  const of = (values: unknown[]) => Array.from(rows, (row) => values[row - firstRow])
  return Object.fromEntries(Object.entries(block).map(([name, values]) => [name, of(values)]))
}

/** @param of - mean loss of these scores on the rows */
export function stabilityFigures(
  rows: { measured: number; all: number },
  newest: { version: string; meanLoss: number },
  results: ReturnType<AsideScores['results']>,
  of: (scores: Float64Array) => number,
  leftOut: StabilityFigures['leftOut'],
): StabilityFigures {
  const measured = results.flatMap((one) =>
    'scores' in one ? [{ version: one.version, meanLoss: of(one.scores) }] : [],
  )
  const failed = results.flatMap((one) => ('why' in one ? [{ version: one.version, why: one.why }] : []))
  return {
    rows: rows.measured,
    isSample: rows.measured < rows.all,
    versions: [...measured, newest],
    leftOut: [...leftOut, ...failed],
  }
}
