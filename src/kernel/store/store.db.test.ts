import { sql } from 'kysely'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { describeEachStore } from '../../testing/test-store.ts'
import { appendEvent, compareAndSet } from './state-machine.ts'
import type { Store } from './store.ts'

describeEachStore('store', (open) => {
  let store: Store
  beforeEach(async () => {
    store = await open()
  })
  afterEach(() => store.close())

  const put = (key: string, value: unknown) => ({ key, value: JSON.stringify(value) })

  it('keeps all of a transaction', async () => {
    await store.transaction(async (tx) => {
      await tx.insertInto('setting').values(put('a', 1)).execute()
      await tx.insertInto('setting').values(put('b', 2)).execute()
    })
    expect(await store.db.selectFrom('setting').select('key').orderBy('key').execute()).toEqual([
      { key: 'a' },
      { key: 'b' },
    ])
  })

  it('keeps nothing of a transaction that throws', async () => {
    const failing = store.transaction(async (tx) => {
      await tx.insertInto('setting').values(put('a', 1)).execute()
      throw new Error('no')
    })
    await expect(failing).rejects.toThrow('no')
    expect(await store.db.selectFrom('setting').selectAll().execute()).toEqual([])
  })

  it('keeps nothing of a transaction whose statement fails, and goes on working', async () => {
    const failing = store.transaction(async (tx) => {
      await tx.insertInto('setting').values(put('a', 1)).execute()
      await tx.insertInto('setting').values(put('a', 2)).execute()
    })
    await expect(failing).rejects.toMatchObject({ code: '23505' })
    expect(await store.db.selectFrom('setting').selectAll().execute()).toEqual([])
  })

  it('runs transactions at the same time as if one after the other', async () => {
    await store.db.insertInto('setting').values(put('count', 0)).execute()
    const increment = () =>
      store.transaction(async (tx) => {
        const row = await tx.selectFrom('setting').select('value').where('key', '=', 'count').executeTakeFirstOrThrow()
        const next = JSON.stringify(Number(row.value) + 1)
        await tx.updateTable('setting').set({ value: next }).where('key', '=', 'count').execute()
      })
    await Promise.all([increment(), increment(), increment(), increment()])
    const row = await store.db.selectFrom('setting').select('value').executeTakeFirstOrThrow()
    expect(row.value).toBe(4)
  })

  it('refuses a query beside the open transaction instead of waiting for itself', async () => {
    const nested = store.transaction(() => store.db.selectFrom('setting').selectAll().execute())
    await expect(nested).rejects.toMatchObject({ code: 'MR_NESTED_TRANSACTION' })
    const twice = store.transaction(() => store.transaction(async () => 1))
    await expect(twice).rejects.toMatchObject({ code: 'MR_NESTED_TRANSACTION' })
  })

  it('lets go on what a transaction has started but not waited for', async () => {
    let later: Promise<unknown> = Promise.resolve()
    await store.transaction(async () => {
      later = new Promise((resolve) => setTimeout(resolve, 50)).then(() =>
        store.db.selectFrom('setting').selectAll().execute(),
      )
    })
    expect(await later).toEqual([])
  })

  it('reads bigint, sums and counts as numbers, and JSON parsed', async () => {
    const atMs = 1_700_000_000_123
    await appendEvent(store.db, {
      entity: 'run',
      entityId: 'run-1',
      from: null,
      to: 'queued',
      cause: 'by hand',
      atMs,
      calendarMs: 5,
      detail: { list: [1, 'a'], nothing: null },
    })
    const row = await store.db
      .selectFrom('event')
      .select(['at_ms', 'detail', (eb) => eb.lit(true).as('yes')])
      .executeTakeFirstOrThrow()
    expect(row).toEqual({ at_ms: atMs, detail: { list: [1, 'a'], nothing: null }, yes: true })
    const { rows } = await sql`select sum(at_ms) as sum, avg(at_ms) as avg, count(*) as count, 2^40 as float,
      9007199254740993::bigint as big from event`.execute(store.db)
    expect(rows).toEqual([{ sum: atMs, avg: atMs, count: 1, float: 2 ** 40, big: 9007199254740993n }])
  })

  it('moves a status once, with its event, however many try', async () => {
    await store.db.insertInto('model').values({ name: 'm', status: 'active', updated_at_ms: 1 }).execute()
    const change = {
      table: 'model',
      key: ['m'],
      from: 'active',
      to: 'paused',
      cause: 'test',
      atMs: 2,
      calendarMs: 3,
    } as const
    const move = () => store.transaction((tx) => compareAndSet(tx, { ...change, set: { updated_at_ms: 2 } }))
    const moved = await Promise.all([move(), move(), move()])
    expect(moved.filter(Boolean)).toHaveLength(1)
    const model = await store.db.selectFrom('model').selectAll().execute()
    expect(model).toEqual([{ name: 'm', status: 'paused', updated_at_ms: 2 }])
    const events = await store.db.selectFrom('event').select(['from_status', 'to_status', 'at_ms']).execute()
    expect(events).toEqual([{ from_status: 'active', to_status: 'paused', at_ms: 2 }])
  })
})
