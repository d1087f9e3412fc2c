import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { segmentName } from '../../kernel/lake/spool-files.ts'
import type { Store } from '../../kernel/store/store.ts'
import { controlLab, type ControlLab } from '../../testing/control-lab.ts'
import { fakeClock, type FakeClock } from '../../testing/fake-clock.ts'
import { trialUnderWay } from '../../testing/flip-lab.ts'
import { testStore } from '../../testing/test-store.ts'
import { IngestController } from './ingest-controller.ts'

let store: Store
let clock: FakeClock
let lab: ControlLab
let ingest: IngestController
let jobs: number
beforeAll(async () => {
  store = await testStore()
})
afterAll(() => store.close())
beforeEach(async () => {
  clock = fakeClock()
  lab = await controlLab(store, clock)
  await lab.apply({ m: { train: 'true' } })
  jobs = 0
  const nothing = { predictions: 0, rows: 0, labels: 0, quarantined: 0, segments: 0, manifest: 1 }
  ingest = new IngestController(lab.context, () => (jobs++, Promise.resolve(nothing as never)))
  const spool = join(lab.dataDir, 'spool', 'gateway-1')
  mkdirSync(spool, { recursive: true })
  writeFileSync(join(spool, segmentName(1, true)), '')
})
afterEach(() => lab.close())

/** Looks as the loop does, twice a second. @returns jobs that were started */
async function jobsWithin(seconds: number): Promise<number> {
  const before = jobs
  for (let look = 0; look < seconds * 2; look++) {
    clock.advance(500)
    await ingest.look()
    await new Promise((resolve) => setImmediate(resolve))
  }
  return jobs - before
}

it('moves sealed segments every ten seconds', async () => {
  await jobsWithin(1)
  expect(await jobsWithin(60)).toBe(6)
})

it('moves them every second while a trial is young, which waits for predictions and labels', async () => {
  await trialUnderWay(lab, { elapsedMs: 5_000 })
  await jobsWithin(1)
  expect(await jobsWithin(10)).toBe(10)
})

it('does so more seldom the longer the trial has run, and never more seldom than without one', async () => {
  await trialUnderWay(lab, { elapsedMs: 240_000 })
  await jobsWithin(1)
  expect(await jobsWithin(20)).toBe(5)
  await store.db
    .updateTable('trial')
    .set({ look: JSON.stringify({ elapsedMs: 86_400_000 }) })
    .execute()
  await jobsWithin(1)
  expect(await jobsWithin(60)).toBe(6)
})

it('says why the last try failed, until one succeeds', async () => {
  let fault: Error | null = new Error('read-only file system')
  const job = () => (fault === null ? Promise.resolve({ predictions: 0 } as never) : Promise.reject(fault))
  ingest = new IngestController(lab.context, job)
  expect(ingest.failing).toBeNull()
  await jobsWithin(1)
  expect(ingest.failing).toBe('read-only file system')
  await jobsWithin(5)
  expect(ingest.failing).toBe('read-only file system')
  fault = null
  await jobsWithin(10)
  expect(ingest.failing).toBeNull()
})
