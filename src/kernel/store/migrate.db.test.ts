import { sql } from 'kysely'
import { Migrator } from 'kysely/migration'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { describeEachStore } from '../../testing/test-store.ts'
import { migrate } from './migrate.ts'
import { migrations } from './migrations/index.ts'
import type { Store } from './store.ts'

describeEachStore('a database of before', (open) => {
  let store: Store
  beforeAll(async () => {
    store = await open()
  })
  afterAll(() => store.close())

  /** As a Millrace left it that knew only the first migrations. */
  async function takeBackTo(count: number): Promise<void> {
    await sql`drop schema public cascade`.execute(store.db)
    await sql`create schema public`.execute(store.db)
    const known = Object.fromEntries(Object.entries(migrations).slice(0, count))
    const migrator = new Migrator({ db: store.db, provider: { getMigrations: () => Promise.resolve(known) } })
    const { error } = await migrator.migrateToLatest()
    if (error !== undefined) throw error
  }

  it('gets what serving needs, keeps what is there, and is left alone from then on', async () => {
    await takeBackTo(2)
    await sql`insert into revision (digest, source, source_path, project, applied_by, applied_at_ms)
      values ('d', '', '', '{}', 'ann', 1)`.execute(store.db)
    await sql`insert into version (model, number, status, revision_id, model_digest, size_bytes, lineage, id,
        created_at_ms, created_calendar_ms, trained_at_ms)
      values ('m', 1, 'passed', 1, 'sha256:0', 1, '{}', 'm@1', 1, 1, 1)`.execute(store.db)
    await sql`insert into deployment (endpoint, model, version_id, status, replicas_wanted, discoverable, created_at_ms)
      values ('m', 'm', 'm@1', 'ready', 3, true, 1)`.execute(store.db)
    expect(await migrate(store.db)).toEqual(['0003-serving', '0004-open-work'])
    expect(await store.db.selectFrom('deployment').selectAll().execute()).toMatchObject([
      { version_id: 'm@1', replicas_wanted: 3, scaled_why: null, scaled_at_ms: null },
    ])
    for (const table of ['caller', 'caller_key', 'caller_pin', 'gather_member'] as const)
      expect(await store.db.selectFrom(table).selectAll().execute()).toEqual([])
    expect(await migrate(store.db)).toEqual([])
  })
})
