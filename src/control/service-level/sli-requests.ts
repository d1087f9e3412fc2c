import type { Kysely, Transaction } from 'kysely'
import type { ServiceLevelName } from '../../config/project.ts'
import type { Database } from '../../kernel/store/schema.ts'
import { latestRevision } from '../project/revision-store.ts'

/** Phases of the loop, in its order. */
export type Phase =
  | 'trigger'
  | 'pipeline'
  | 'evaluation'
  | 'release'
  | 'serving'
  | 'log'
  | 'monitoring'
  | 'registry'
  | 'retirement'

export type Indicator =
  | 'triggerDelayMs' // from the trigger being due (the data settled) to the run being queued
  | 'runSuccess' // 1 or 0
  | 'runDurationMs'
  | 'evaluationValid' // 1, or 0 where the verdict was `error`
  | 'evaluationDurationMs'
  | 'releaseSuccess'
  | 'leadTimeMs' // from the end of training to the first answer by the new version
  | 'logLagMs' // the longest wait of a record within a quarter of an hour
  | 'monitorLagMs' // how long the oldest complete window waits for its monitors
  | 'modelAgeMs' // since the champion was trained
  | 'retirementSafety' // 1 for a version that went out of service, 0 for one that had to come back

export interface SliMeasurement {
  phase: Phase
  indicator: Indicator
  model: string
  value: number
  /**
   * Whether it counts as good against the objective's meaning: a failed run is bad whatever its duration. Where the model
   * has a level with a threshold for this indicator, a value above that is bad too.
   */
  good: boolean
  /** What was measured; an indicator is recorded once for each. */
  subject: string
  atMs: number
  calendarMs: number
}

/** Levels whose threshold applies when their indicator is measured. Later changes of it leave the past as it was. */
const timedLevels: Partial<Record<Indicator, ServiceLevelName>> = {
  triggerDelayMs: 'triggerPunctuality',
  leadTimeMs: 'leadTime',
  logLagMs: 'logLag',
  monitorLagMs: 'monitorFreshness',
  modelAgeMs: 'modelAge',
}

/** Appends a measured value. Doing it again for the same subject changes nothing. */
export async function recordSli(db: Kysely<Database> | Transaction<Database>, measured: SliMeasurement): Promise<void> {
  await db
    .insertInto('sli')
    .values({
      phase: measured.phase,
      indicator: measured.indicator,
      model: measured.model,
      // No time takes less than none: a clock was set back while it was measured.
      value: Math.max(0, measured.value),
      good: measured.good && (await isWithin(db, measured)),
      subject: measured.subject,
      at_ms: measured.atMs,
      calendar_ms: Math.round(measured.calendarMs),
    })
    .onConflict((conflict) => conflict.columns(['phase', 'indicator', 'subject']).doNothing())
    .execute()
}

async function isWithin(db: Kysely<Database> | Transaction<Database>, measured: SliMeasurement): Promise<boolean> {
  const name = timedLevels[measured.indicator]
  if (name === undefined) return true
  const project = (await latestRevision(db))?.project
  const model = project?.models.find((m) => m.name === measured.model)
  const thresholdMs = model?.serviceLevels.find((level) => level.name === name)?.thresholdMs ?? Infinity
  return measured.value <= thresholdMs
}
