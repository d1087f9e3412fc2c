import type { Kysely, Selectable, Transaction } from 'kysely'
import type { Database, GatherMemberTable } from '../../kernel/store/schema.ts'
import { gatherMemberMachine, type GatherMember } from './gather.ts'

type Db = Kysely<Database> | Transaction<Database>

/** Every version that is or was in a gather, in the order in which they began. */
export async function gatherMembers(db: Db, filter: { endpoint?: string } = {}): Promise<GatherMember[]> {
  let query = db
    .selectFrom('gather_member')
    .selectAll()
    .orderBy('endpoint')
    .orderBy('began_at_ms')
    .orderBy('version_id')
  if (filter.endpoint !== undefined) query = query.where('endpoint', '=', filter.endpoint)
  return (await query.execute()).map(toMember)
}

export interface ReleasedVersion {
  versionId: string
  /** It got it by a rollback. */
  byRollback: boolean
}

/** Rows read at once: as a rule more than are asked for. */
const PAGE = 50

/** Versions of a model that have had all of its traffic and were not rolled back since, the last one first. */
export async function releasedVersions(db: Db, model: string, limit: number): Promise<ReleasedVersion[]> {
  const last = new Map<string, ReleasedVersion>()
  for (let offset = 0; last.size < limit; offset += PAGE) {
    const rows = await db
      .selectFrom('release')
      .select(['version_id', 'kind'])
      .where('model', '=', model)
      .where('status', '=', 'released')
      .orderBy('seq', 'desc') // as they got the traffic, one after the other; their times may have been set back
      .offset(offset)
      .limit(PAGE)
      .execute()
    for (const { version_id: versionId, kind } of rows) {
      if (last.size === limit) break
      if (!last.has(versionId)) last.set(versionId, { versionId, byRollback: kind === 'rollback' })
    }
    if (rows.length < PAGE) break
  }
  return [...last.values()]
}

/**
 * Whether a version that was refused has been released since: by the order in which both were written down, as the clock
 * may have been set between.
 */
export async function isReleasedAnew(
  db: Db,
  { endpoint, versionId }: Pick<GatherMember, 'endpoint' | 'versionId'>,
): Promise<boolean> {
  const released = await db
    .selectFrom('event')
    .select('id')
    .where('entity', '=', 'release')
    .where('to_status', '=', 'released')
    .where('entity_id', 'in', (eb) => eb.selectFrom('release').select('release.id').where('version_id', '=', versionId))
    .where('id', '>', (eb) =>
      eb
        .selectFrom('event as refusal')
        .select(({ fn }) => fn.max('refusal.id').as('id'))
        .where('refusal.entity', '=', 'gather_member')
        .where('refusal.entity_id', '=', memberEntity(endpoint, versionId))
        .where('refusal.to_status', '=', 'refused'),
    )
    .limit(1)
    .executeTakeFirst()
  return released !== undefined
}

/** What its events are told under. */
export const memberEntity = (endpoint: string, versionId: string): string => `${endpoint}/${versionId}`

function toMember(row: Selectable<GatherMemberTable>): GatherMember {
  return {
    endpoint: row.endpoint,
    versionId: row.version_id,
    model: row.model,
    status: gatherMemberMachine.parse(row.status),
    why: row.why,
    requests: row.requests,
    failed: row.failed,
    beganAtMs: row.began_at_ms,
    admittedAtMs: row.admitted_at_ms,
    statusAtMs: row.status_at_ms,
  }
}
