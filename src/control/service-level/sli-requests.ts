import type { Kysely, Transaction } from 'kysely'
import type { Database } from '../../kernel/store/schema.ts'

/** Phases of the loop, in its order. */
export type Phase = 'trigger' | 'pipeline' | 'evaluation' | 'release' | 'serving' | 'log'

export type Indicator =
  | 'triggerDelayMs' // from the data being settled to the run being queued
  | 'runSuccess' // 1 or 0
  | 'runDurationMs'
  | 'evaluationValid' // 1, or 0 where the verdict was `error`
  | 'evaluationDurationMs'
  | 'releaseSuccess'
  | 'leadTimeMs' // from the end of training to the first answer by the new version

export interface SliMeasurement {
  phase: Phase
  indicator: Indicator
  model: string
  value: number
  /** Whether it counts as good against the objective's meaning: a failed run is bad whatever its duration. */
  good: boolean
  /** What was measured; an indicator is recorded once for each. */
  subject: string
  atMs: number
}

/** Appends a measured value. Doing it again for the same subject changes nothing. */
export async function recordSli(db: Kysely<Database> | Transaction<Database>, measured: SliMeasurement): Promise<void> {
  await db
    .insertInto('sli')
    .values({
      phase: measured.phase,
      indicator: measured.indicator,
      model: measured.model,
      value: measured.value,
      good: measured.good,
      subject: measured.subject,
      at_ms: measured.atMs,
    })
    .onConflict((conflict) => conflict.columns(['phase', 'indicator', 'subject']).doNothing())
    .execute()
}
