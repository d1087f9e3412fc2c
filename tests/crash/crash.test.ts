import { writeFileSync } from 'node:fs'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { CrashRun } from './crash-run.ts'
import { figuresTable } from './figures.ts'

/**
 * One Millrace under load is killed in parts, round after round, and everything that it has promised is counted.
 * See docs/reference/crash-tests.md.
 */
const rounds = Number(process.env['MILLRACE_CRASH_ROUNDS'] ?? 100)
const seed = Number(process.env['MILLRACE_CRASH_SEED'] ?? Math.floor(Math.random() * 1e6))
const figuresPath = process.env['MILLRACE_CRASH_FIGURES']
const SHOWN_MAX = 5
const START_MS = 300_000

let run: CrashRun
let isFine = true

describe.skipIf(process.platform !== 'linux')(`Millrace, killed in ${rounds} rounds (seed ${seed})`, () => {
  beforeAll(async () => {
    run = await CrashRun.start(seed, rounds)
  }, START_MS)

  afterEach(({ task }) => {
    if (task.result?.state === 'fail') isFine = false
  })

  afterAll(async () => {
    if (run === undefined) return
    const kept = await run.clear(isFine)
    if (kept !== null) console.error(`Logs are kept beside ${kept}; the seed was ${seed}.`)
    if (figuresPath !== undefined) writeFileSync(figuresPath, figuresTable(run.evidence, run.traffic, run.changes))
  })

  it('comes back from every kill, and everything comes to its end by itself', async () => {
    await run.run()
    expect(run.evidence.kills.length).toBeGreaterThanOrEqual(rounds / 2)
  })

  it('loses no acknowledged prediction and doubles none', () => {
    expect(some(run.judged.lake.lost)).toEqual([])
    expect(some(run.judged.lake.doubled)).toEqual([])
    expect(run.traffic.acknowledged.size).toBeGreaterThan(rounds)
  })

  it('loses no acknowledged label', () => {
    expect(some(run.judged.lake.labelsLost)).toEqual([])
    expect(run.traffic.labelled.size).toBeGreaterThan(rounds)
  })

  it('agrees with itself on what was served, logged and is in the lake', () => {
    expect(run.judged.lake.disagreement).toBeNull()
  })

  it('loses no acknowledged change, and new data starts one run each', () => {
    expect(some(run.judged.control.lostChanges)).toEqual([])
    expect(run.changes.acknowledged.length).toBeGreaterThan(0)
  })

  it('runs no step again whose success was recorded, and no attempt twice', () => {
    expect(some(run.judged.control.repeatedSteps)).toEqual([])
  })

  it('ends every run and every release as it should', () => {
    expect(some(run.judged.control.badEnds)).toEqual([])
  })

  it('fails no request: neither while the control plane is down nor when a model server dies', () => {
    expect(run.judged.rounds).toBe(rounds)
    expect(some(run.traffic.failedWithoutStop())).toEqual([])
  })

  it('cuts off a client only when the gateway itself is killed', () => {
    expect(run.judged.rounds).toBe(rounds)
    expect(some(run.traffic.interruptedWithoutKill())).toEqual([])
  })

  it('was right at every check on the way', () => {
    expect(some(run.judged.complaintsOnTheWay)).toEqual([])
  })

  it('leaves no process, socket or record behind after down', () => {
    expect(some(run.judged.leftBehind)).toEqual([])
  })
})

/** Enough to see what is wrong; the table says how many there are. */
function some<T>(found: readonly T[]): T[] {
  return found.slice(0, SHOWN_MAX)
}
