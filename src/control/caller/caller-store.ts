import type { Kysely, Selectable, Transaction } from 'kysely'
import type { CallerPinTable, Database } from '../../kernel/store/schema.ts'
import type { Caller, CallerKey, CallerPin } from './caller.ts'

type Db = Kysely<Database> | Transaction<Database>

/** All of them, those that are revoked included, by name. */
export async function listCallers(db: Db): Promise<Caller[]> {
  const rows = await db.selectFrom('caller').selectAll().orderBy('name').execute()
  const keys = Map.groupBy(
    await db.selectFrom('caller_key').selectAll().orderBy('created_at_ms').orderBy('digest').execute(),
    (key) => key.caller,
  )
  return rows.map((row) => ({
    name: row.name,
    endpoints: row.endpoints,
    commonNames: row.common_names,
    concurrency: row.concurrency,
    keys: (keys.get(row.name) ?? []).map((key): CallerKey => ({
      digest: key.digest,
      hint: key.hint,
      createdBy: key.created_by,
      createdAtMs: key.created_at_ms,
      endsAtMs: key.ends_at_ms,
    })),
    createdBy: row.created_by,
    createdAtMs: row.created_at_ms,
    revoked:
      row.revoked_at_ms === null
        ? null
        : { atMs: row.revoked_at_ms, by: row.revoked_by ?? '', why: row.revoked_why ?? '' },
    requests: row.requests,
    lastCalendarMs: row.last_calendar_ms,
  }))
}

export async function findCaller(db: Db, name: string): Promise<Caller | null> {
  return (await listCallers(db)).find((caller) => caller.name === name) ?? null
}

/** Those that have not been taken away or found expired yet, by endpoint and caller. */
export async function listPins(db: Db): Promise<CallerPin[]> {
  const rows = await db.selectFrom('caller_pin').selectAll().orderBy('endpoint').orderBy('caller').execute()
  return rows.map(toPin)
}

/** Versions that a caller is pinned to: they stay deployed. */
export async function versionsOfPins(db: Db): Promise<Set<string>> {
  const rows = await db.selectFrom('caller_pin').select('version_id').distinct().execute()
  return new Set(rows.map((row) => row.version_id))
}

function toPin(row: Selectable<CallerPinTable>): CallerPin {
  return {
    caller: row.caller,
    endpoint: row.endpoint,
    versionId: row.version_id,
    pinnedBy: row.pinned_by,
    pinnedAtMs: row.pinned_at_ms,
    expiresAtMs: row.expires_at_ms,
    why: row.why,
  }
}
