import type { Kysely, Transaction } from 'kysely'
import type { Clock } from '../../kernel/clock.ts'
import type { Database } from '../../kernel/store/schema.ts'
import { versionsBeyondUse } from '../retirement/retirement-store.ts'
import { aliasHistory, aliasTarget, listVersions } from '../registry/version-store.ts'
import { rollbackTarget } from './decide-rollback-target.ts'
import { requestRelease } from './release-requests.ts'
import { openReleases } from './release-store.ts'

type Db = Kysely<Database> | Transaction<Database>

/** So many of a model's newest versions are asked about rejections. */
const VERSIONS_MAX = 1_000

/**
 * Where a rollback that names no version goes: while a release has part of the traffic, or is about to get it, back to
 * the champion beside it; else to the champion before, leaving out what was rolled back, rejected or deleted since.
 */
export async function rollbackTargetOf(db: Db, model: string): Promise<string | null> {
  const champion = await aliasTarget(db, model, 'champion')
  const underWay = (await openReleases(db)).some(
    (r) => r.model === model && r.kind === 'release' && r.status !== 'queued',
  )
  if (underWay && champion !== null) return champion
  return championBefore(db, model)
}

/** What `previous` names: the champion before, as an undo would find it. */
export async function championBefore(db: Db, model: string): Promise<string | null> {
  const rollbacks = await db
    .selectFrom('release')
    .select('id')
    .where('model', '=', model)
    .where('kind', '=', 'rollback')
    .execute()
  const ids = new Set(rollbacks.map((r) => r.id))
  const spans = (await aliasHistory(db, model)).filter((s) => s.alias === 'champion')
  // The cause of an alias begins with the release that moved it.
  const history = spans.map((s) => ({ versionId: s.versionId, byRollback: ids.has(s.cause.split(':')[0]!) }))
  const versions = await listVersions(db, { model, limit: VERSIONS_MAX })
  const unfit = new Set(
    versions.filter((v) => v.approval?.decision === 'rejected' || v.signature === null).map((v) => v.id),
  )
  const gone = await versionsBeyondUse(db, model)
  return rollbackTarget(history, (id) => !unfit.has(id) && !gone.has(id))
}

/**
 * Appends a rollback by a person or a monitor. Asked for again while one to the same version is open, that one stands;
 * one to another version overrules it.
 * @param request.to - null: see `rollbackTargetOf`
 * @returns the release's id; null: there is no version to go back to
 */
export async function requestRollback(
  tx: Transaction<Database>,
  clock: Clock,
  request: { model: string; endpoint: string; to: string | null; cause: string; by: string },
): Promise<string | null> {
  const { model, endpoint, cause, by } = request
  const versionId = request.to ?? (await rollbackTargetOf(tx, model))
  if (versionId === null) return null
  return requestRelease(tx, clock, { kind: 'rollback', endpoint, model, versionId, cause, by })
}
