import { writeFileSync } from 'node:fs'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { missingForAutomation } from '../../config/missing-for-automation.ts'
import type { ModelInput } from '../../config/input.ts'
import { JobFailedError } from '../../kernel/runtime/errors.ts'
import type { Store } from '../../kernel/store/store.ts'
import { plainSignature } from '../../testing/control-builders.ts'
import { controlLab, type ControlLab } from '../../testing/control-lab.ts'
import { fakeClock } from '../../testing/fake-clock.ts'
import { describeEachStore } from '../../testing/test-store.ts'
import { setDisposition } from '../registry/version-requests.ts'
import { findVersion } from '../registry/version-store.ts'
import { requestRelease } from '../release/release-requests.ts'
import { EvaluationController, type EvaluationRuntime } from './evaluation-controller.ts'
import { evaluationOf, gateOf } from './evaluation-store.ts'
import type { EvaluateJobInput, EvaluateJobOutput } from './evaluate-job.ts'
import { measure } from './figures.ts'

const proven: ModelInput = { train: 'true', task: 'binary', label: 'y', holdout: 'holdout.csv' }

describeEachStore('the evaluation controller', (open: () => Promise<Store>) => {
  let store: Store
  beforeAll(async () => {
    store = await open()
  })
  afterAll(() => store.close())

  let lab: ControlLab
  let jobs: EvaluateJobInput[]
  let answer: (input: EvaluateJobInput) => Promise<EvaluateJobOutput>
  let controller: EvaluationController

  const newController = () => {
    const runtime: EvaluationRuntime = {
      evaluate(input) {
        jobs.push(input)
        return answer(input)
      },
      inspect: () => Promise.resolve({ signature: plainSignature }),
    }
    return new EvaluationController(lab.context, runtime, missingForAutomation)
  }

  beforeEach(async () => {
    lab = await controlLab(store, fakeClock())
    await lab.apply({ m: proven })
    jobs = []
    answer = (input) => Promise.resolve(figuresOf(input, 0.9))
    controller = newController()
  })
  afterEach(() => lab.close())

  const db = () => lab.context.store.db
  const status = async (id: string) => (await findVersion(db(), id))!.status
  /** As the loop: each look wakes the next, until nothing is under way. */
  async function looked(times = 4): Promise<void> {
    for (let i = 0; i < times; i++) {
      await controller.look()
      await controller.settle()
    }
  }

  it('has a candidate evaluated and its verdict recorded with figures, files and indicators', async () => {
    const id = await lab.version('m')
    await looked()
    expect(await status(id)).toBe('passed')
    expect(await gateOf(db(), id)).toMatchObject({ verdict: 'passed', evaluationId: 'evaluation-1' })
    const version = (await findVersion(db(), id))!
    expect(Buffer.from(await lab.context.artifacts.readBytes(version.goldenDigest!)).toString()).toBe('golden')
    expect(Buffer.from(await lab.context.artifacts.readBytes(version.profileDigest!)).toString()).toBe('profile')
    const slis = await db().selectFrom('sli').select(['indicator', 'good']).execute()
    expect(slis).toContainEqual({ indicator: 'evaluationValid', good: true })
    expect(jobs).toHaveLength(1)
  })

  it('fails what is no better than a constant', async () => {
    answer = (input) => Promise.resolve(figuresOf(input, 0.3))
    const id = await lab.version('m')
    await looked()
    expect(await status(id)).toBe('failed')
  })

  it('gives up at once where the data are to blame, with the reason', async () => {
    answer = () => Promise.reject(new Error('the holdout is empty'))
    const id = await lab.version('m')
    await looked()
    expect(await gateOf(db(), id)).toMatchObject({ verdict: 'error', why: 'the holdout is empty' })
    expect(await status(id)).toBe('error')
    expect(jobs).toHaveLength(1)
  })

  it('tries a job that was killed some more times, then gives up with its last words', async () => {
    answer = () => Promise.reject(new JobFailedError('evaluate', 'killed by SIGKILL', true))
    const id = await lab.version('m')
    await looked(30)
    expect(jobs.length).toBeGreaterThan(1)
    expect(await gateOf(db(), id)).toMatchObject({
      verdict: 'error',
      why: expect.stringContaining('SIGKILL') as string,
    })
  })

  it('evaluates again after a crash of the control plane', async () => {
    answer = () => new Promise(() => {})
    const id = await lab.version('m')
    for (let crash = 0; crash < 2; crash++) {
      controller = newController()
      for (let i = 0; i < 3; i++) await controller.look()
      await expect.poll(() => jobs.length).toBe(crash + 1)
      expect(await evaluationOf(db(), id)).toMatchObject({ status: 'running', attempts: crash + 1 })
    }
    answer = (input) => Promise.resolve(figuresOf(input, 0.9))
    controller = newController()
    await looked()
    expect(await status(id)).toBe('passed')
  })

  it('gives up where the control plane is lost with it again and again', async () => {
    const id = await lab.version('m')
    await controller.look()
    await db().updateTable('evaluation').set({ status: 'running', attempts: 1_000 }).execute()
    await looked(1)
    expect(await status(id)).toBe('error')
    expect((await gateOf(db(), id))!.why).toContain('1000')
  })

  it('evaluates one version of a model at a time, each against the champion it would replace', async () => {
    const [first, second] = [await lab.version('m'), await lab.version('m')]
    await looked()
    expect([await status(first), await status(second)]).toEqual(['passed', 'candidate'])
    await lab.context.store.transaction((tx) => setDisposition(tx, lab.context.clock, first, 'spare', 'test'))
    await looked()
    expect(await status(second)).toBe('passed')
  })

  it('measures with it those of the last versions that were good enough to serve, without backfills', async () => {
    const { store, clock } = lab.context
    const next = async (score: number) => {
      answer = (input) => Promise.resolve(figuresOf(input, score))
      const id = await lab.version('m')
      await looked()
      await store.transaction((tx) => setDisposition(tx, clock, id, 'spare', 'test'))
      return id
    }
    for (const score of [0.9, 0.3, 0.9, 0.9, 0.3, 0.9]) await next(score)
    const runId = await lab.train('m', { triggerKind: 'backfill' })
    await db().updateTable('version').set({ run_id: runId }).where('id', '=', 'm@4').execute()
    const gone = (await findVersion(db(), 'm@6'))!
    await db()
      .updateTable('version')
      .set({ model_digest: `sha256:${'0'.repeat(64)}` })
      .where('id', '=', gone.id)
      .execute()
    await next(0.9)
    // Of the four before it without the backfill (2, 3, 5 and 6), 2 and 5 have failed and 6 is not on disk.
    expect(jobs.at(-1)).toMatchObject({ version: 'm@7', predecessors: [{ version: 'm@3' }] })
    expect(jobs.at(-1)!.predecessorsLeftOut).toMatchObject([{ version: 'm@6' }])
  })

  it('waits while a version of the model is being released', async () => {
    const { store, clock } = lab.context
    const [first, second] = [await lab.version('m'), await lab.version('m')]
    await looked()
    await store.transaction(async (tx) => {
      await setDisposition(tx, clock, first, 'released', 'test')
      await requestRelease(tx, clock, {
        kind: 'release',
        endpoint: 'm',
        model: 'm',
        versionId: first,
        cause: 'test',
        by: 'gate',
      })
    })
    await looked()
    expect(await status(second)).toBe('candidate')
  })

  it('opens a version that there is nothing to evaluate by, so that a person can approve it', async () => {
    await lab.apply({ bare: { train: 'true' } })
    const id = await lab.version('bare')
    await db().updateTable('version').set({ signature: null }).where('id', '=', id).execute()
    await looked()
    expect(await findVersion(db(), id)).toMatchObject({ status: 'candidate', signature: plainSignature })
    expect(jobs).toEqual([])
  })

  it('neither starts nor spins for a model that has left the configuration, and goes on when it is back', async () => {
    const id = await lab.version('m')
    await controller.look()
    await lab.apply({ other: { train: 'true' } })
    lab.woken.length = 0
    await looked()
    expect([jobs, lab.woken]).toEqual([[], []])
    expect(await status(id)).toBe('evaluating')
    await lab.apply({ m: proven })
    await looked()
    expect(await status(id)).toBe('passed')
  })

  it('ends with a reason where the holdout is no longer declared', async () => {
    const id = await lab.version('m')
    await controller.look()
    await lab.apply({ m: { train: 'true' } })
    await looked()
    expect((await gateOf(db(), id))!.why).toContain('holdout, label, task are no longer declared')
  })

  it('starts nothing while the disk is low', async () => {
    const id = await lab.version('m')
    lab.disk.low = true
    await looked()
    expect(await status(id)).toBe('candidate')
  })
})

/** What a job would find for a model that gives `score` to the right class of 200 rows. */
function figuresOf(input: EvaluateJobInput, score: number): EvaluateJobOutput {
  for (const [path, text] of [
    [input.lossesPath, 'losses'],
    [input.holdoutPath, 'holdout'],
    [input.goldenPath, 'golden'],
    [input.profilePath, 'profile'],
  ] as const)
    writeFileSync(path, text)
  const values = Float64Array.from({ length: 200 }, (_, i) => i % 2)
  const scores = values.map((label, i) => (label === 1 ? score : 1 - score) + ((i % 5) - 2) / 1_000)
  const model = { signature: plainSignature, scoreOutput: { output: 'y', index: null }, scores }
  const labels = { values, positive: Uint8Array.from(values) }
  const { figures } = measure({ ...input, model, champion: null, labels, clusters: null })
  const durations = { materialiseMs: 1, scoreMs: 1, compareMs: 1, keepMs: 1, totalMs: 4 }
  return { ...figures, holdoutDigest: 'sha256:1', durations, goldenWhy: null, goldenRows: 64 }
}
