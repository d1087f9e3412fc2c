import { rm } from 'node:fs/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { LabelRecord, PredictionRecord } from '../../kernel/contract/prediction.ts'
import { runIngestJob } from '../../kernel/lake/ingest.ts'
import { FLIGHTS, label, newLake, NOON_MS, prediction, schema, writeSegment } from '../../kernel/lake/lake-builders.ts'
import { countIntoBins } from '../../kernel/stats/histogram.ts'
import { logLoss } from '../evaluation/losses.ts'
import { runTrialJob, type TrialJobInput } from './trial-job.ts'

/** Predictions of FLIGHTS: the score is the distance ÷ 1000. */
const score = { output: 'late', index: null }
const edges = [0.1, 0.2, 0.3]

describe('the figures of trials in the lake', () => {
  let lake: Awaited<ReturnType<typeof newLake>>
  let sequence: number
  beforeEach(async () => {
    lake = await newLake()
    sequence = 0
  })
  afterEach(() => rm(lake.root, { recursive: true, force: true }))

  async function holds(records: (PredictionRecord | LabelRecord)[]): Promise<void> {
    const versions = ['1', '2', '3'].map((version) => schema({ version }))
    await writeSegment(lake.spoolDir, [...versions, ...records], { sequence: ++sequence })
    await runIngestJob({ spoolDir: lake.spoolDir, lakeDir: lake.lakeDir })
  }

  const input = (overrides: Partial<TrialJobInput> = {}): TrialJobInput => ({
    lakeDir: lake.lakeDir,
    model: 'late-flight',
    fromDay: '2001-01-01',
    trials: [{ id: 'trial-1', kind: 'canary' }],
    challenger: { version: '2', score, signature: FLIGHTS },
    champion: { version: '1', score, signature: FLIGHTS },
    edges,
    labels: { task: 'binary', positive: null, loss: 'logLoss' },
    ...overrides,
  })
  const canary = (version: string, distances: number[], facts: Partial<PredictionRecord> = {}) =>
    prediction({ version, trial: 'trial-1', ...facts }, distances)

  it('are nothing in an empty lake, and where no file knows trials', async () => {
    const none = { requests: 0, bins: [0, 0, 0, 0, 0], losses: { n: 0, sum: 0, squares: 0 } }
    const empty = { trialId: 'trial-1', challenger: none, champion: none, paired: { n: 0, sum: 0, squares: 0 } }
    expect((await runTrialJob(input())).trials).toEqual([empty])
    await holds([prediction({ version: '2' }), prediction({ version: '1' })])
    expect((await runTrialJob(input())).trials).toEqual([empty])
  })

  it('count each request of the trial once, however many rows it has, by the bins of the baseline profile', async () => {
    const distances = [50, 100, 101, 250, 301, 9_000]
    await holds([
      ...distances.map((d) => canary('2', [d])),
      canary('1', [50, 50, 250, 250]),
      canary('1', [50], { trial: 'trial-9' }),
      canary('1', [50], { trial: null }),
      canary('3', [50]),
      canary('2', [50], { status: 500 }),
      canary('2', [50], { origin: 'fallback' }),
      canary('2', [50], { origin: 'shadow' }),
    ])
    const [found] = (await runTrialJob(input())).trials
    const bins = countIntoBins(edges, Float64Array.from(Float32Array.from(distances, (d) => d / 1_000)))
    expect(found!.challenger).toMatchObject({ requests: 6, bins: [...bins, 0] })
    expect(found!.champion).toMatchObject({ requests: 1, bins: [0.5, 0, 0.5, 0, 0] })
  })

  it('hold the mean loss of each labelled request, by the last label', async () => {
    const [one, batch, unlabelled] = [canary('2', [800]), canary('2', [100, 300]), canary('2', [500])]
    const other = canary('1', [400])
    await holds([one, batch, unlabelled, other])
    await holds([
      label(one.predictionId, 0, { atMs: NOON_MS }),
      label(one.predictionId, 1, { atMs: NOON_MS + 1 }),
      label(batch.predictionId, 'true', { row: 0 }),
      label(batch.predictionId, 'no', { row: 1 }),
      label(other.predictionId, false),
    ])
    const [found] = (await runTrialJob(input())).trials
    const losses = [logLoss(0.8, 1), (logLoss(0.1, 1) + logLoss(0.3, 0)) / 2]
    expect(found!.challenger.losses.n).toBe(2)
    expect(found!.challenger.losses.sum).toBeCloseTo(losses[0]! + losses[1]!, 6)
    expect(found!.challenger.losses.squares).toBeCloseTo(losses[0]! ** 2 + losses[1]! ** 2, 6)
    expect(found!.champion.losses).toMatchObject({ n: 1 })
    expect(found!.champion.losses.sum).toBeCloseTo(logLoss(0.4, 0), 6)
  })

  it('are no more by a flood of labels: each request counts once, and labels of nobody not at all', async () => {
    const [one, two] = [canary('2', [800]), canary('1', [400])]
    await holds([one, two])
    const flood = Array.from({ length: 2_000 }, (_, i) => label(one.predictionId, i % 2, { atMs: NOON_MS + i }))
    const strangers = Array.from({ length: 500 }, () => label(canary('2', [100]).predictionId, 1))
    await holds([...flood, ...strangers, label(two.predictionId, 0)])
    const [found] = (await runTrialJob(input())).trials
    expect(found!.challenger.losses.n).toBe(1)
    expect(found!.challenger.losses.sum).toBeCloseTo(logLoss(0.8, 1), 6)
    expect(found!.champion.losses).toMatchObject({ n: 1 })
  })

  it.each([
    ['brier', (s: number, y: number) => (s - y) ** 2],
    ['squaredError', (s: number, y: number) => (s - y) ** 2],
    ['absoluteError', (s: number, y: number) => Math.abs(s - y)],
  ] as const)('measure the %s as evaluations do', async (loss, of) => {
    const one = canary('2', [800])
    await holds([one, label(one.predictionId, 0.25)])
    const task = loss === 'brier' ? 'binary' : 'regression'
    const [found] = (await runTrialJob(input({ labels: { task, positive: '0.25', loss } }))).trials
    expect(found!.challenger.losses.sum).toBeCloseTo(of(0.8, task === 'binary' ? 1 : 0.25), 6)
  })

  it('leave out labels that are no numbers where numbers are needed, or so great that nothing can be said of others', async () => {
    const [one, other, third] = [canary('2', [800]), canary('2', [800]), canary('2', [800])]
    const labels = [label(one.predictionId, 'soon'), label(other.predictionId, 1e200), label(third.predictionId, 1e70)]
    await holds([one, other, third, ...labels])
    const [found] = (await runTrialJob(input({ labels: { task: 'regression', positive: null, loss: 'squaredError' } })))
      .trials
    expect(found!.challenger.losses).toEqual({ n: 1, sum: expect.closeTo(1e140, -130), squares: expect.any(Number) })
    expect(found!.challenger.losses.squares).toBeLessThan(Infinity)
  })

  it('pair a copy with the live answer that it is of, and give it that one’s label', async () => {
    const live = [100, 200, 300].map((d) => canary('1', [d]))
    const copies = live
      .slice(0, 2)
      .map((of, i) => canary('2', [(i + 1) * 400], { origin: 'shadow', shadowOf: of.predictionId }))
    await holds([...live, ...copies, ...live.map((of) => label(of.predictionId, 1))])
    const [found] = (await runTrialJob(input({ trials: [{ id: 'trial-1', kind: 'shadow' }] }))).trials
    expect([found!.challenger.requests, found!.champion.requests]).toEqual([2, 3])
    expect([found!.challenger.losses.n, found!.champion.losses.n]).toEqual([2, 3])
    const differences = [logLoss(0.4, 1) - logLoss(0.1, 1), logLoss(0.8, 1) - logLoss(0.2, 1)]
    expect(found!.paired).toMatchObject({ n: 2, positives: 2 })
    expect(found!.champion.losses.positives).toBe(3)
    expect(found!.paired.sum).toBeCloseTo(differences[0]! + differences[1]!, 6)
    expect(found!.paired.squares).toBeCloseTo(differences[0]! ** 2 + differences[1]! ** 2, 6)
  })

  it('tell trials apart, and leave the days before the first unread', async () => {
    await holds([
      canary('2', [100], { atMs: Date.UTC(2000, 11, 30) }),
      canary('2', [100]),
      canary('2', [100], { trial: 'trial-2' }),
      canary('2', [100], { trial: 'trial-2' }),
    ])
    const trials = [
      { id: 'trial-1', kind: 'canary' as const },
      { id: 'trial-2', kind: 'canary' as const },
    ]
    expect((await runTrialJob(input({ trials }))).trials.map((t) => t.challenger.requests)).toEqual([1, 2])
  })

  it('count predictions of a version whose score is not known as answered, and in no bin', async () => {
    await holds([canary('2', [100])])
    const challenger = { version: '2', score: null, signature: FLIGHTS }
    const [found] = (await runTrialJob(input({ challenger }))).trials
    expect(found!.challenger).toMatchObject({ requests: 1, bins: [0, 0, 0, 0, 1] })
    expect((await runTrialJob(input({ edges: null }))).trials[0]!.challenger).toMatchObject({ requests: 1, bins: [] })
  })
})
