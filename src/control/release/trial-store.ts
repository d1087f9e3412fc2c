import type { Kysely, Selectable, Transaction } from 'kysely'
import type { Database, TrialTable } from '../../kernel/store/schema.ts'
import { trialMachine, type Trial } from './release.ts'
import { NO_COUNTS, type ArmCounts, type Look } from './trial.ts'

type Db = Kysely<Database> | Transaction<Database>

export interface TrialRow extends Trial {
  /** The last look; null before the first. */
  look: Look | null
}

/** Of one release, in their order. */
export async function trialsOf(db: Db, releaseId: string): Promise<TrialRow[]> {
  const rows = await db.selectFrom('trial').selectAll().where('release_id', '=', releaseId).orderBy('seq').execute()
  return rows.map(toTrial)
}

export async function runningTrials(db: Db): Promise<TrialRow[]> {
  const rows = await db.selectFrom('trial').selectAll().where('status', '=', 'running').orderBy('seq').execute()
  return rows.map(toTrial)
}

/** The newest trial of an endpoint, running or not. */
export async function lastTrial(db: Db, endpoint: string): Promise<TrialRow | null> {
  const row = await db
    .selectFrom('trial')
    .selectAll()
    .where('endpoint', '=', endpoint)
    .orderBy('seq', 'desc')
    .limit(1)
    .executeTakeFirst()
  return row === undefined ? null : toTrial(row)
}

/** What gateways counted, by trial and version. */
export async function trialCounts(
  db: Db,
  trialIds: string[],
): Promise<(trialId: string, version: string) => ArmCounts> {
  if (trialIds.length === 0) return () => NO_COUNTS
  const rows = await db.selectFrom('trial_count').selectAll().where('trial_id', 'in', trialIds).execute()
  return (trialId, versionId) => {
    const row = rows.find((r) => r.trial_id === trialId && r.version_id === versionId)
    if (row === undefined) return NO_COUNTS
    const { requests, failed, interrupted, latency } = row
    return { requests, failed, interrupted, latency }
  }
}

export interface KeptLook {
  trialId: string
  decision: Look['decision']
  why: string
  figures: Look
  atMs: number
  calendarMs: number
}

/** Looks that were kept of these trials, newest first. */
export async function keptLooks(db: Db, trialIds: string[], limit: number): Promise<KeptLook[]> {
  if (trialIds.length === 0) return []
  const rows = await db
    .selectFrom('trial_look')
    .selectAll()
    .where('trial_id', 'in', trialIds)
    .orderBy('seq', 'desc')
    .limit(limit)
    .execute()
  return rows.map((row) => ({
    trialId: row.trial_id,
    decision: row.decision as Look['decision'],
    why: row.why,
    figures: row.figures as Look,
    atMs: row.at_ms,
    calendarMs: row.calendar_ms,
  }))
}

/** Of one trial; older ones go. */
const LOOKS_MAX = 1_000

/** @param keep - also as a row of its own, which stays */
export async function saveLook(
  tx: Transaction<Database>,
  trialId: string,
  look: Look,
  { keep, calendarMs }: { keep: boolean; calendarMs: number },
): Promise<void> {
  const text = JSON.stringify(look)
  await tx.updateTable('trial').set({ look: text }).where('id', '=', trialId).execute()
  if (!keep) return
  const { seq } = await tx
    .insertInto('trial_look')
    .values({
      trial_id: trialId,
      decision: look.decision,
      why: look.why,
      figures: text,
      at_ms: look.atMs,
      calendar_ms: Math.round(calendarMs),
    })
    .returning('seq')
    .executeTakeFirstOrThrow()
  // Not for every row: a look costs the same however many there are.
  if (seq % 50 !== 0) return
  const oldest = await tx
    .selectFrom('trial_look')
    .select('seq')
    .where('trial_id', '=', trialId)
    .orderBy('seq', 'desc')
    .offset(LOOKS_MAX)
    .limit(1)
    .executeTakeFirst()
  if (oldest !== undefined)
    await tx.deleteFrom('trial_look').where('trial_id', '=', trialId).where('seq', '<=', oldest.seq).execute()
}

function toTrial(row: Selectable<TrialTable>): TrialRow {
  return {
    id: row.id,
    releaseId: row.release_id,
    endpoint: row.endpoint,
    kind: row.kind as Trial['kind'],
    step: row.step,
    weightPercent: row.weight_percent,
    status: trialMachine.parse(row.status),
    why: row.why,
    challengerId: row.challenger_id,
    championId: row.champion_id,
    startedAtMs: row.started_at_ms,
    startedCalendarMs: row.started_calendar_ms,
    endedAtMs: row.ended_at_ms,
    look: row.look as Look | null,
  }
}
