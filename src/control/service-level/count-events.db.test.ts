import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import type { Store } from '../../kernel/store/store.ts'
import { emptyStore } from '../../testing/control-lab.ts'
import { latencyCounts } from '../../testing/control-builders.ts'
import { describeEachStore } from '../../testing/test-store.ts'
import { countEvents } from './count-events.ts'
import { levelOf } from './level-builders.ts'
import type { DeclaredLevel } from './level.ts'

const [MINUTE, HOUR, DAY] = [60_000, 3_600_000, 86_400_000]
const NOW = { epochMs: Date.UTC(2026, 0, 31), calendarMs: Date.UTC(2001, 0, 31) }
const declared = (overrides: Parameters<typeof levelOf>[0], model = 'm'): DeclaredLevel => ({
  model,
  endpoint: model,
  level: levelOf(overrides),
})

describeEachStore('counting events', (open) => {
  let store: Store
  beforeAll(async () => {
    store = await open()
  })
  beforeEach(() => emptyStore(store))
  afterAll(() => store.close())

  /** @param agoMs - by the calendar */
  async function run(agoMs: number, good: boolean, model = 'm'): Promise<void> {
    const { n } = await store.db
      .selectFrom('sli')
      .select((eb) => eb.fn.countAll().as('n'))
      .executeTakeFirstOrThrow()
    const times = { at_ms: NOW.epochMs, calendar_ms: NOW.calendarMs - agoMs }
    const row = { phase: 'pipeline', indicator: 'runSuccess', model, value: 1, good, subject: `run-${n}`, ...times }
    await store.db.insertInto('sli').values(row).execute()
  }
  async function minute(
    agoMs: number,
    counts: { requests: number; failed?: number; interrupted?: number; latencyMs?: number; version?: string },
  ): Promise<void> {
    const { requests, failed = 0, interrupted = 0, latencyMs = 7, version = 'm@1' } = counts
    await store.db
      .insertInto('traffic')
      .values({
        minute_ms: NOW.epochMs - agoMs,
        endpoint: 'm',
        version_id: version,
        requests,
        failed,
        interrupted,
        latency_counts: JSON.stringify(latencyCounts(latencyMs, requests)),
      })
      .execute()
  }

  it('takes each window from its start, by the calendar where people mean that', async () => {
    for (const agoMs of [10 * MINUTE, 5 * HOUR, 2 * DAY, 29 * DAY, 31 * DAY]) await run(agoMs, agoMs > DAY)
    await run(MINUTE, false, 'other')
    const [events] = await countEvents(store.db, [declared({ name: 'runSuccess' })], NOW)
    expect(events).toMatchObject({
      whole: { good: 2, bad: 2 },
      pairs: [
        { long: { good: 0, bad: 1 }, short: { good: 0, bad: 0 } },
        { long: { good: 0, bad: 2 }, short: { good: 0, bad: 1 } },
        { long: { good: 1, bad: 2 }, short: { good: 0, bad: 2 } },
      ],
    })
  })

  it('gives the last three of rare events, newest first, and of each model its own', async () => {
    for (const good of [false, true, false, true]) await run(HOUR, good)
    await run(HOUR, false, 'other')
    await run(40 * DAY, true, 'old')
    const levels = ['m', 'other', 'old'].map((model) => declared({ name: 'runSuccess' }, model))
    const events = await countEvents(store.db, levels, NOW)
    expect(events.map(({ last }) => last)).toEqual([[true, false, true], [false], []])
    expect(events.map(({ whole }) => whole)).toEqual([
      { good: 2, bad: 2 },
      { good: 0, bad: 1 },
      { good: 0, bad: 0 },
    ])
  })

  it('counts requests of all versions of a model by failures, without those whose client left', async () => {
    await minute(10 * MINUTE, { requests: 100, failed: 3, interrupted: 10 })
    await minute(10 * MINUTE, { requests: 50, failed: 50, version: 'm@2' })
    await minute(40 * DAY, { requests: 7, failed: 7 })
    await minute(10 * MINUTE, { requests: 9, failed: 9, version: 'mm@1' })
    const [events] = await countEvents(store.db, [declared({ name: 'availability' })], NOW)
    expect(events).toMatchObject({
      whole: { good: 87, bad: 53 },
      pairs: [{ long: { good: 87, bad: 53 }, short: { good: 0, bad: 0 } }, {}, {}],
      last: [],
    })
  })

  it('counts latencies against the threshold of each model', async () => {
    await minute(MINUTE, { requests: 10, latencyMs: 50 })
    await minute(2 * MINUTE, { requests: 4, latencyMs: 200 })
    await minute(3 * MINUTE, { requests: 2, latencyMs: 99_999 })
    const at = async (thresholdMs: number) =>
      (await countEvents(store.db, [declared({ name: 'latency', thresholdMs })], NOW))[0]!.whole
    expect(await at(20)).toEqual({ good: 0, bad: 16 })
    expect(await at(50)).toEqual({ good: 10, bad: 6 })
    expect(await at(10_000)).toEqual({ good: 14, bad: 2 })
  })

  it('forgets nothing when the clock is set back', async () => {
    await run(-3 * DAY, false)
    await minute(-HOUR, { requests: 5, failed: 5 })
    const levels = [declared({ name: 'runSuccess' }), declared({ name: 'availability' })]
    const events = await countEvents(store.db, levels, NOW)
    expect(events.map(({ whole }) => whole.bad)).toEqual([1, 5])
    expect(events.map(({ pairs }) => pairs[0]!.short.bad)).toEqual([1, 5])
  })

  it('needs no rows', async () => {
    const levels = [declared({ name: 'runSuccess' }), declared({ name: 'latency', thresholdMs: 100 })]
    expect((await countEvents(store.db, levels, NOW)).map(({ whole }) => whole)).toEqual([
      { good: 0, bad: 0 },
      { good: 0, bad: 0 },
    ])
    expect(await countEvents(store.db, [], NOW)).toEqual([])
  })
})
