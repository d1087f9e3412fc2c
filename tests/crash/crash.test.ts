import { writeFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
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

  afterAll(async () => {
    if (run === undefined) return
    const kept = await run.clear(isFine)
    if (kept !== null) console.error(`Logs are kept beside ${kept}; the seed was ${seed}.`)
    if (figuresPath !== undefined) writeFileSync(figuresPath, figuresTable(run.evidence, run.traffic, run.changes))
  })

  it('comes back from every kill, and everything comes to its end by itself', async () => {
    await judged(async () => run.run())
  })

  it('loses no acknowledged prediction and doubles none', () => {
    const { lost, doubled } = run.evidence.lake
    none('lost predictions', lost)
    none('doubled predictions', doubled)
    judge(() => expect(run.traffic.acknowledged.size).toBeGreaterThan(rounds))
  })

  it('loses no acknowledged label', () => none('lost labels', run.evidence.lake.labelsLost))

  it('agrees with itself on what was served, logged and is in the lake', () => {
    none('disagreements', run.evidence.lake.disagreement === null ? [] : [run.evidence.lake.disagreement])
  })

  it('loses no acknowledged change, and new data starts one run each', () => {
    none('lost changes', run.evidence.control.lostChanges)
    judge(() => expect(run.changes.acknowledged.length).toBeGreaterThan(0))
  })

  it('runs no step again whose success was recorded, and no attempt twice', () => {
    none('repeated steps', run.evidence.control.repeatedSteps)
  })

  it('ends every run and every release as it should', () => none('bad ends', run.evidence.control.badEnds))

  it('fails no request: neither while the control plane is down nor when a model server dies', () => {
    none(
      'failed requests',
      run.traffic.failedWithoutStop().map((mishap) => JSON.stringify(mishap)),
    )
  })

  it('cuts off a client only when the gateway itself is killed', () => {
    none(
      'interrupted requests',
      run.traffic.interruptedWithoutKill().map((mishap) => JSON.stringify(mishap)),
    )
  })

  it('was right at every check on the way', () => none('complaints', run.evidence.complaintsOnTheWay))

  it('leaves no process, socket or record behind after down', () => none('leftovers', run.evidence.leftBehind))
})

function none(what: string, found: readonly string[]): void {
  judge(() => expect(found.slice(0, SHOWN_MAX), `${found.length} ${what}`).toEqual([]))
}

function judge(assertion: () => void): void {
  try {
    assertion()
  } catch (error) {
    isFine = false
    throw error
  }
}

async function judged(work: () => Promise<void>): Promise<void> {
  try {
    await work()
  } catch (error) {
    isFine = false
    throw error
  }
}
