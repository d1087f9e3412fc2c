import type { Kysely } from 'kysely'
import type { ModelConfig } from '../../config/project.ts'
import type { Database } from '../../kernel/store/schema.ts'
import { openEvaluations } from '../evaluation/evaluation-store.ts'
import { deploymentsWithReplicas } from '../release/release-store.ts'
import type { RetirementQuestion, RetirementView } from './decide-retirement.ts'
import { holders } from './holders.ts'
import { outdatedBy, type Reevaluation } from './reevaluation.ts'
import { reevaluationsOf } from './reevaluation-store.ts'
import { openRetirements, pinMsOf } from './retirement-store.ts'
import { useFacts, type UsesOutside } from './use-facts.ts'

type Db = Kysely<Database>

/** So many versions of a model are looked at, the newest; deleted ones don't count. */
const VERSIONS_MAX = 2_000

/** All that the policies and the guard go by, for the versions of one model that are not deleted. */
export async function retirementQuestion(
  db: Db,
  model: ModelConfig,
  outside: UsesOutside,
  now: { calendarMs: number; frozen: string | null },
): Promise<RetirementQuestion> {
  const { name } = model
  const rows = await versionRows(db, name)
  const uses = await useFacts(db, name, outside)
  const retirements = new Map((await openRetirements(db, { model: name })).map((r) => [r.versionId, r]))
  const named = await db.selectFrom('alias').select(['alias', 'version_id']).where('model', '=', name).execute()
  const versionOf = (alias: string) => named.find((a) => a.alias === alias)?.version_id ?? null
  const championId = versionOf('champion')
  const champion = rows.find((r) => r.id === championId)
  const ids = rows.map((row) => row.id)
  const championDays = await lastChampionDays(db, name, ids, now.calendarMs)
  const calls = await callsOf(db, ids)
  const windows = await reevaluationsOf(db, name)
  const running = await runningOf(db, name, outside)
  const openRun = await db
    .selectFrom('run')
    .select('id')
    .where('model', '=', name)
    .where('status', 'in', ['queued', 'running'])
    .executeTakeFirst()
  const openEvaluation = (await openEvaluations(db)).find((e) => rows.some((r) => r.id === e.versionId))
  const reading = openRun ?? openEvaluation
  const pinMs = pinMsOf(outside.models, name)

  const views = rows.map((row): RetirementView => {
    const used = calls.get(row.id)
    const asChampion = championDays.get(row.id) ?? null
    return {
      versionId: row.id,
      number: row.number,
      retirement: retirements.get(row.id) ?? null,
      heldBy: holders(uses.get(row.id)!, now.calendarMs, pinMs),
      createdCalendarMs: row.created_calendar_ms,
      undecided: row.disposition === null,
      usable: row.status === 'passed' || decisionOf(row.approval) === 'approved' || asChampion !== null,
      inService: row.id === championId || row.id === versionOf('previous'),
      everChampion: asChampion !== null,
      lastUsedCalendarMs: Math.max(row.created_calendar_ms, used?.last_calendar_ms ?? 0, asChampion ?? 0),
      longestGapMs: used?.longest_gap_ms ?? 0,
      noWorse: champion === undefined ? null : noWorse(row, champion, windows, model.gate.margin),
      outdated:
        model.retirement.outdated === null ? null : outdatedBy(windows, row.id, model.retirement.outdated.windowMs),
      running: running.get(row.id) ?? [],
      read: reading === undefined ? null : `${reading.id} of ${name} has ended`,
    }
  })
  return {
    versions: views,
    champion: champion === undefined ? null : { versionId: champion.id, number: champion.number },
    config: model.retirement,
    ...now,
  }
}

interface VersionRow {
  id: string
  number: number
  status: string
  disposition: string | null
  approval: unknown
  created_calendar_ms: number
  compared_with: string | null
}

async function versionRows(db: Db, model: string): Promise<VersionRow[]> {
  const rows = await db
    .selectFrom('version')
    .select(['version.id', 'version.number', 'version.status', 'version.disposition', 'version.approval'])
    .select((eb) => [
      'version.created_calendar_ms',
      eb
        .selectFrom('evaluation')
        .select('champion_id')
        .whereRef('evaluation.version_id', '=', 'version.id')
        .orderBy('seq', 'desc')
        .limit(1)
        .as('compared_with'),
    ])
    .where('version.model', '=', model)
    .where('version.deleted_at_ms', 'is', null)
    .orderBy('version.number', 'desc')
    .limit(VERSIONS_MAX)
    .execute()
  return rows.toReversed()
}

/**
 * Whether the champion, being newer, was measured no worse: on the same labelled window where there is one, else by the
 * gate, which let it pass against this version or a newer one.
 */
function noWorse(
  version: VersionRow,
  champion: VersionRow,
  windows: Reevaluation[],
  margin: number,
): RetirementView['noWorse'] {
  if (champion.number <= version.number) return null
  const common = windows.findLast(
    (w) => w.versionId === version.id && windows.some((c) => c.versionId === champion.id && c.windowMs === w.windowMs),
  )
  const theirs = windows.find((w) => w.versionId === champion.id && w.windowMs === common?.windowMs)
  const [mine, its] = [common?.meanLoss ?? null, theirs?.meanLoss ?? null]
  if (common !== undefined && mine !== null && its !== null) {
    if (its > mine + margin) return null
    const why = `mean loss ${its.toPrecision(4)} against ${mine.toPrecision(4)} on the window of ${isoDay(common.windowMs)}`
    return { versionId: champion.id, why }
  }
  const against = champion.compared_with === null ? null : Number(champion.compared_with.split('@')[1])
  if (champion.status !== 'passed' || against === null || against < version.number) return null
  return { versionId: champion.id, why: `it passed its gate against ${champion.compared_with}` }
}

/** Of each that was champion: the end of its last time, now if it still is. */
async function lastChampionDays(
  db: Db,
  model: string,
  versionIds: string[],
  calendarMs: number,
): Promise<Map<string, number>> {
  const rows = await db
    .selectFrom('alias_history as span')
    .select((eb) => [
      'span.version_id',
      eb
        .selectFrom('alias_history as next')
        .select('next.calendar_ms')
        .where('next.model', '=', model)
        .where('next.alias', '=', 'champion')
        .whereRef('next.seq', '>', 'span.seq')
        .orderBy('next.seq')
        .limit(1)
        .as('until_ms'),
    ])
    .where('span.model', '=', model)
    .where('span.alias', '=', 'champion')
    .where('span.version_id', 'in', [...versionIds, ''])
    .orderBy('span.seq')
    .execute()
  return new Map(rows.map((row) => [row.version_id!, row.until_ms ?? calendarMs]))
}

async function callsOf(db: Db, versionIds: string[]) {
  const rows = await db
    .selectFrom('version_use')
    .selectAll()
    .where('version_id', 'in', [...versionIds, ''])
    .execute()
  return new Map(rows.map((used) => [used.version_id, used]))
}

/** By version: deployments and replicas that have not ended, and requests on them. */
async function runningOf(db: Db, model: string, outside: UsesOutside): Promise<Map<string, string[]>> {
  const rows = (await deploymentsWithReplicas(db)).filter((deployment) => deployment.model === model)
  const running = new Map<string, string[]>()
  for (const { id, versionId, status } of rows) {
    const requests = outside.inFlight.get(id) ?? 0
    const text = `${id} (${status}${requests > 0 ? `, ${requests} requests in flight` : ''})`
    running.set(versionId, [...(running.get(versionId) ?? []), text])
  }
  return running
}

const decisionOf = (approval: unknown) => (approval as { decision?: string } | null)?.decision ?? null

const isoDay = (ms: number) => new Date(ms).toISOString().slice(0, 10)
