import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Store } from '../../kernel/store/store.ts'
import { controlLab, type ControlLab } from '../../testing/control-lab.ts'
import { fakeClock, type FakeClock } from '../../testing/fake-clock.ts'
import { testStore } from '../../testing/test-store.ts'
import { endFreeze } from '../release/freeze-requests.ts'
import { activeFreezes, listFreezes } from '../release/freeze-store.ts'
import { StabilityController } from './stability-controller.ts'

describe('the stability controller', () => {
  let store: Store
  let lab: ControlLab
  let clock: FakeClock
  beforeAll(async () => {
    store = await testStore()
  })
  afterAll(() => store.close())
  beforeEach(async () => {
    clock = fakeClock()
    lab = await controlLab(store, clock)
    await lab.apply({ m: { train: 'true' } })
  })
  afterEach(() => lab.close())

  const look = () => new StabilityController(lab.context).look()
  async function ended(status: 'succeeded' | 'failed' | 'cancelled', triggerKind: 'cron' | 'backfill' = 'cron') {
    const id = await lab.train('m', { triggerKind })
    clock.advance(1_000)
    const set = { status, why: `${status} for a reason`, ended_at_ms: clock.epochMs() }
    await store.db.updateTable('run').set(set).where('id', '=', id).execute()
    await look()
  }
  async function judged(verdict: 'passed' | 'error', stability: 'passed' | 'failed' = 'passed') {
    const id = await lab.version('m')
    clock.advance(1_000)
    const checks = JSON.stringify([{ name: 'stability', verdict: stability, why: 'spread 0.1', figures: {} }])
    await store.db
      .insertInto('gate')
      .values({ version_id: id, verdict, why: 'w', checks, proven_better: false, decided_at_ms: clock.epochMs() })
      .execute()
    await look()
  }
  const active = () => activeFreezes(store.db, 'm')

  it('freezes once when two of the last three runs failed, and lifts it after three good ones', async () => {
    await ended('failed')
    await ended('cancelled')
    await ended('succeeded')
    expect(await active()).toEqual([])
    await ended('failed')
    expect(await active()).toMatchObject([
      {
        kind: 'stability',
        model: 'm',
        createdBy: 'stability guard',
        why: '2 of the last 3 runs failed; run-4: failed for a reason',
        unfreezes: "3 good runs and evaluations in a row, or 'millrace unfreeze'",
      },
    ])
    expect(lab.woken).toContain('release')
    await ended('failed')
    for (let i = 0; i < 2; i++) await ended('succeeded')
    expect(await active()).toHaveLength(1)
    await ended('succeeded')
    expect(await active()).toEqual([])
    expect(await listFreezes(store.db, { limit: 9 })).toMatchObject([
      { status: 'ended', endedBy: 'stability guard', endedWhy: 'the last 3 runs and evaluations are good' },
    ])
  })

  it('freezes for evaluations that could not measure, and for versions that are unlike', async () => {
    await judged('error')
    await judged('passed')
    await judged('error')
    expect(await active()).toMatchObject([{ why: '2 of the last 3 evaluations could not measure; m@3: w' }])
    await store.transaction((tx) => endFreeze(tx, clock, { model: 'm', by: 'ada', why: 'known' }))
    await judged('passed', 'failed')
    expect(await active()).toEqual([])
    await judged('passed', 'failed')
    expect(await active()).toMatchObject([{ why: 'the last 2 versions failed on stability; m@5: spread 0.1' }])
  })

  it('does not freeze again for what a person has lifted it for', async () => {
    await ended('failed')
    await ended('failed')
    await store.transaction((tx) => endFreeze(tx, clock, { model: 'm', by: 'ada', why: 'known' }))
    await look()
    await ended('failed')
    expect(await active()).toEqual([])
    await ended('failed')
    expect(await active()).toHaveLength(1)
  })

  it('takes no account of backfills', async () => {
    for (let i = 0; i < 3; i++) await ended('failed', 'backfill')
    expect(await active()).toEqual([])
  })
})
