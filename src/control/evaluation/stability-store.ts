import type { Kysely } from 'kysely'
import type { Database } from '../../kernel/store/schema.ts'
import { STABILITY_WINDOW, type StabilityView } from './decide-stability.ts'
import type { GateCheck } from './gate.ts'

/** The newest runs of a model that ended by themselves after `sinceMs`. */
export async function lastRuns(db: Kysely<Database>, model: string, sinceMs: number): Promise<StabilityView['runs']> {
  const rows = await db
    .selectFrom('run')
    .select(['id', 'status', 'why'])
    .where('model', '=', model)
    .where('status', 'in', ['succeeded', 'failed'])
    .where('trigger_kind', '<>', 'backfill')
    .where('ended_at_ms', '>', sinceMs)
    .orderBy('seq', 'desc')
    .limit(STABILITY_WINDOW)
    .execute()
  return rows.map(({ id, status, why }) => ({ id, isGood: status === 'succeeded', why: why ?? 'no reason recorded' }))
}

/** The newest verdicts on versions of a model after `sinceMs`. */
export async function lastVerdicts(
  db: Kysely<Database>,
  model: string,
  sinceMs: number,
): Promise<StabilityView['evaluations']> {
  const rows = await db
    .selectFrom('gate')
    .innerJoin('version', 'version.id', 'gate.version_id')
    .leftJoin('run', 'run.id', 'version.run_id')
    .select(['gate.version_id', 'gate.verdict', 'gate.why', 'gate.checks'])
    .where('version.model', '=', model)
    .where((eb) => eb.or([eb('run.trigger_kind', 'is', null), eb('run.trigger_kind', '<>', 'backfill')]))
    .where('gate.decided_at_ms', '>', sinceMs)
    .orderBy('gate.seq', 'desc')
    .limit(STABILITY_WINDOW)
    .execute()
  return rows.map(({ version_id, verdict, why, checks }) => {
    const unstable = (checks as GateCheck[]).find((check) => check.name === 'stability' && check.verdict === 'failed')
    const isStable = unstable === undefined
    return { version: version_id, isValid: verdict !== 'error', isStable, why: unstable?.why ?? why }
  })
}
