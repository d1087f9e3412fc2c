import { writeFileSync } from 'node:fs'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { showLogsOnFailure, type Installation } from './harness.ts'
import { figuresTable } from './release/figures.ts'
import { ReleaseRun, type Amounts } from './release/release-run.ts'

/*
 * Releases, rollbacks, retirements and disabled endpoints under load, while replicas are killed: no request may fail.
 * Here in short form; `npm run test:release` does it a hundred times over. See docs/reference/release-tests.md.
 */
const amount = (name: string, short: number): number => Number(process.env[`MILLRACE_${name}`] ?? short)
const amounts: Amounts = {
  releases: amount('RELEASES', 4),
  canaries: amount('CANARIES', 1),
  rollbacks: amount('ROLLBACKS', 1),
  disables: amount('DISABLES', 1),
  retirements: amount('RETIREMENTS', 1),
  requestsPerSecond: amount('REQUESTS_PER_SECOND', 100),
  killEveryMs: amount('RELEASE_KILL_EVERY_MS', 3_000),
  seed: amount('RELEASE_SEED', Math.floor(Math.random() * 1e6)),
}
const figuresPath = process.env['MILLRACE_RELEASE_FIGURES']
const START_MS = 300_000
const RUN_MS = 3 * 3_600_000
/** What a change of routes may take on a machine that is busy with other things; the figures say what it took. */
const FLIP_MS = amount('RELEASE_FLIP_MS', 15_000)
const SHOWN_MAX = 5

describe.skipIf(process.platform !== 'linux')(`Millrace, releasing under load (seed ${amounts.seed})`, () => {
  let run: ReleaseRun
  let installation: Installation

  beforeAll(async () => {
    const started = await ReleaseRun.start(amounts)
    run = started.run
    installation = started.installation
  }, START_MS)
  beforeEach(() => showLogsOnFailure(installation))
  afterAll(async () => {
    if (run === undefined) return
    run.main.kill()
    run.canary.kill()
    const table = figuresTable(amounts, run.evidence, [run.main, run.canary])
    if (figuresPath === undefined) console.log(table)
    else writeFileSync(figuresPath, table)
    await installation.remove()
  })

  it(
    'does everything it is told, and logs all of it once',
    async () => {
      await run.run()
      const { releases, canaries, rollbacks, disables, retired, complaints } = run.evidence
      expect(complaints).toEqual([])
      expect(run.evidence.log).toEqual(run.expectedLog())
      expect([releases.length + canaries.length, canaries.length, rollbacks.length, disables.length]).toEqual([
        amounts.releases,
        amounts.canaries,
        amounts.rollbacks,
        amounts.disables,
      ])
      expect(retired).toHaveLength(amounts.retirements)
    },
    RUN_MS,
  )

  it('fails no request, and cuts off no client', () => {
    expect([...run.main.mishaps, ...run.canary.mishaps].slice(0, SHOWN_MAX)).toEqual([])
    expect(run.main.requests).toBeGreaterThan(amounts.releases * 50)
  })

  it('sends no request to a replica that is dead', () => {
    expect(run.evidence.kills).toBeGreaterThan(0)
    expect(run.evidence.removals.filter((ms) => ms > FLIP_MS)).toEqual([])
  })

  it('has a rollback and a disabled endpoint take effect at once', () => {
    expect([...run.evidence.rollbacks, ...run.evidence.disables].filter((ms) => ms > FLIP_MS)).toEqual([])
  })
})
