import type { Kysely, Selectable, Transaction } from 'kysely'
import { MillraceError } from '../../kernel/errors.ts'
import type { Database, VersionTable } from '../../kernel/store/schema.ts'
import { parseVersionRef, versionMachine, type Version } from './version.ts'

type Db = Kysely<Database> | Transaction<Database>

export class VersionNotFoundError extends MillraceError {
  constructor(ref: string, known: string[]) {
    super({
      code: 'MR_VERSION_NOT_FOUND',
      kind: 'not-found',
      message: `There is no version ${ref}${known.length === 0 ? '' : `; known: ${known.join(', ')}`}.`,
      fix: `Run 'millrace models' to see models, versions and aliases.`,
    })
  }
}

export async function findVersion(db: Db, id: string): Promise<Version | null> {
  const row = await db.selectFrom('version').selectAll().where('id', '=', id).executeTakeFirst()
  return row === undefined ? null : toVersion(row)
}

/** @param ref - `model@number` or `model@alias` @throws VersionNotFoundError */
export async function resolveVersion(db: Db, ref: string): Promise<Version> {
  const parsed = parseVersionRef(ref)
  const id = parsed?.alias ? await aliasTarget(db, parsed.model, parsed.alias) : ref
  const version = id === null ? null : await findVersion(db, id)
  if (version !== null) return version
  const known = await listVersions(db, { model: parsed?.model ?? '', limit: 5 })
  throw new VersionNotFoundError(
    ref,
    known.map((v) => v.id),
  )
}

export async function listVersions(db: Db, filter: { model?: string; limit: number }): Promise<Version[]> {
  let query = db.selectFrom('version').selectAll().orderBy('seq', 'desc').limit(filter.limit)
  if (filter.model !== undefined) query = query.where('model', '=', filter.model)
  return (await query.execute()).map(toVersion)
}

export async function versionsByStatus(db: Db, status: Version['status']): Promise<Version[]> {
  const rows = await db.selectFrom('version').selectAll().where('status', '=', status).orderBy('seq').execute()
  return rows.map(toVersion)
}

/** The newest versions of its model before it, newest first, without those of backfills. */
export async function versionsBefore(db: Db, { model, number }: Version, limit: number): Promise<Version[]> {
  if (limit < 1) return []
  const rows = await db
    .selectFrom('version')
    .leftJoin('run', 'run.id', 'version.run_id')
    .selectAll('version')
    .where('version.model', '=', model)
    .where('version.number', '<', number)
    .where((eb) => eb.or([eb('run.trigger_kind', 'is', null), eb('run.trigger_kind', '<>', 'backfill')]))
    .orderBy('version.number', 'desc')
    .limit(limit)
    .execute()
  return rows.map(toVersion)
}

/** Versions whose verdict or approval is there and about whose release nothing was decided yet. */
export async function undecidedVersions(db: Db): Promise<Version[]> {
  const rows = await db
    .selectFrom('version')
    .selectAll()
    .where((eb) => eb.or([eb('disposition', 'is', null), eb('disposition', '=', 'awaiting-approval')]))
    .orderBy('seq')
    .execute()
  return rows.map(toVersion)
}

export async function aliasTarget(db: Db, model: string, alias: string): Promise<string | null> {
  const row = await db
    .selectFrom('alias')
    .select('version_id')
    .where('model', '=', model)
    .where('alias', '=', alias)
    .executeTakeFirst()
  return row?.version_id ?? null
}

export async function championOf(db: Db, model: string): Promise<Version | null> {
  const id = await aliasTarget(db, model, 'champion')
  return id === null ? null : findVersion(db, id)
}

export async function aliases(db: Db): Promise<{ model: string; alias: string; versionId: string }[]> {
  const rows = await db.selectFrom('alias').selectAll().orderBy('alias').execute()
  return rows.map((r) => ({ model: r.model, alias: r.alias, versionId: r.version_id }))
}

export interface AliasSpan {
  alias: string
  versionId: string | null
  cause: string
  fromMs: number
  fromCalendarMs: number
}

/** Every change of a model's aliases, oldest first. */
export async function aliasHistory(db: Db, model: string): Promise<AliasSpan[]> {
  const rows = await db.selectFrom('alias_history').selectAll().where('model', '=', model).orderBy('seq').execute()
  return rows.map((r) => ({
    alias: r.alias,
    versionId: r.version_id,
    cause: r.cause,
    fromMs: r.at_ms,
    fromCalendarMs: r.calendar_ms,
  }))
}

/** Since when a model's champion is that; null where the history says nothing of it. */
export async function championSince(db: Db, champion: Pick<Version, 'id' | 'model'>): Promise<number | null> {
  const row = await db
    .selectFrom('alias_history')
    .select('calendar_ms')
    .where('model', '=', champion.model)
    .where('alias', '=', 'champion')
    .where('version_id', '=', champion.id)
    .orderBy('seq', 'desc')
    .limit(1)
    .executeTakeFirst()
  return row?.calendar_ms ?? null
}

export interface LiveSpan {
  versionId: string | null
  fromMs: number | null
  untilMs: number | null
  why: string | null
}

/** Which version was champion at a calendar time. Pure over `aliasHistory`. */
export function liveAt(history: AliasSpan[], atMs: number): LiveSpan {
  const spans = history.filter((h) => h.alias === 'champion')
  const index = spans.findLastIndex((s) => s.fromCalendarMs <= atMs)
  const span = spans[index]
  return {
    versionId: span?.versionId ?? null,
    fromMs: span?.fromCalendarMs ?? null,
    untilMs: spans[index + 1]?.fromCalendarMs ?? null,
    why: span?.cause ?? null,
  }
}

function toVersion(row: Selectable<VersionTable>): Version {
  return {
    id: row.id,
    model: row.model,
    number: row.number,
    status: versionMachine.parse(row.status),
    why: row.why,
    runId: row.run_id,
    revisionId: row.revision_id,
    modelDigest: row.model_digest,
    sizeBytes: row.size_bytes,
    signature: row.signature as Version['signature'],
    scoreOutput: row.score_output as Version['scoreOutput'],
    lineage: row.lineage as Version['lineage'],
    reportedMetrics: row.reported_metrics,
    approval: row.approval as Version['approval'],
    disposition: row.disposition as Version['disposition'],
    dispositionWhy: row.disposition_why,
    profileDigest: row.profile_digest,
    goldenDigest: row.golden_digest,
    trainedAtMs: row.trained_at_ms,
    createdAtMs: row.created_at_ms,
    createdCalendarMs: row.created_calendar_ms,
  }
}
