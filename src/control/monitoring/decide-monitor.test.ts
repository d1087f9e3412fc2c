import { describe, expect, it } from 'vitest'
import type { MonitorConfig, MonitorKind } from '../../config/project.ts'
import { seededRandom } from '../../kernel/stats/random.ts'
import {
  categoricalProfile,
  numericProfile,
  type BaselineProfile,
  type NumericProfile,
} from '../evaluation/baseline-profile.ts'
import { decideMonitor } from './decide-monitor.ts'
import type { Finding, WindowFacts } from './finding.ts'
import { baselineCounts, binEdges, DAY_MS, HOUR_MS, type ColumnCounts } from './observation.ts'
import { binOf } from '../../kernel/stats/histogram.ts'

const uniform = (rows: number, seed = 1) => {
  const random = seededRandom(seed)
  return Float64Array.from({ length: rows }, () => random.uniform())
}

const PROFILE: BaselineProfile = {
  format: 1,
  source: 'training',
  rows: 5_000,
  profiledRows: 5_000,
  columns: [
    numericProfile('number', uniform(5_000)),
    categoricalProfile(
      'kind',
      Array.from({ length: 5_000 }, (_, i) => `k${i % 4}`),
    ),
    numericProfile('constant', new Float64Array(5_000).fill(7)),
    numericProfile('empty', new Float64Array(5_000).fill(Number.NaN)),
  ],
  prediction: numericProfile('score', uniform(5_000, 2)),
}
const profileOf = (name: string) => PROFILE.columns.find((column) => column.name === name) as NumericProfile

/** Counted as the job counts. */
function counted(profile: NumericProfile, values: Float64Array): ColumnCounts {
  const edges = binEdges(profile)
  const counts = Array.from({ length: edges.length + 3 }, () => 0)
  for (const value of values) counts[Number.isNaN(value) ? 0 : 2 + binOf(edges, value)]! += 1
  return counts
}

function monitorOf(name: MonitorKind, overrides: Partial<MonitorConfig> = {}): MonitorConfig {
  const limits: Partial<Record<MonitorKind, number>> = {
    drift: 0.25,
    predictionDrift: 0.25,
    missing: 0.05,
    unseen: 0.05,
    predictedActual: 1.25,
    quality: 0.05,
  }
  return {
    name,
    limit: limits[name] ?? null,
    min: null,
    max: null,
    minRows: 200,
    alpha: 0.001,
    columns: [],
    severity: 'warning',
    response: 'tell',
    raiseAfter: 2,
    clearAfter: 2,
    runbook: null,
    ...overrides,
  }
}

function factsOf(columns: Record<string, ColumnCounts> = {}, overrides: Partial<WindowFacts> = {}): WindowFacts {
  return {
    window: { fromMs: 0, toMs: DAY_MS },
    versionId: 'm@3',
    profile: PROFILE,
    counts: { requests: 1_000, lastAtMs: 0, columns, prediction: null },
    requests: 1_000,
    logShare: 1,
    quality: null,
    labelDelayMs: DAY_MS,
    reference: { meanLoss: 0.4, rows: 10_000 },
    loss: 'logLoss',
    nowMs: 0,
    championSinceMs: 0,
    lastRequestMs: null,
    trainedMs: 0,
    ...overrides,
  }
}

const of = (findings: Finding[], subject: string) => findings.find((finding) => finding.subject === subject)!
const drift = (name: string, values: Float64Array) =>
  of(decideMonitor(monitorOf('drift'), factsOf({ [name]: counted(profileOf(name), values) })), name)

describe('drift of an input', () => {
  it('is steady where the rows come from where the profile came from', () => {
    expect(drift('number', uniform(1_000, 3))).toMatchObject({ verdict: 'ok', n: 1_000, limit: 0.25 })
  })

  it('is bad beyond the limit, with PSI, Jensen-Shannon and both sample sizes in the reason', () => {
    const shifted = uniform(1_000, 3).map((value) => value * 0.5)
    const found = drift('number', shifted)
    expect(found.verdict).toBe('bad')
    expect(found.why).toMatch(
      /^PSI \d\.\d+ of number beyond chance exceeds 0\.25 \(Jensen-Shannon 0\.\d+ bits, p < 0\.001; 1,000 rows against 5,000/,
    )
  })

  it('says nothing of 8 rows, however far they are', () => {
    expect(drift('number', new Float64Array(8).fill(0.5))).toMatchObject({
      verdict: 'insufficient',
      why: '8 rows in the window: fewer than 200 say nothing',
    })
  })

  it('does not alarm on a trifle, however many rows show it', () => {
    const many = uniform(1_000_000, 4).map((value) => value ** 1.02)
    expect(drift('number', many)).toMatchObject({ verdict: 'ok', n: 1_000_000 })
  })

  it('sees that a constant column is constant no more', () => {
    expect(drift('constant', new Float64Array(1_000).fill(7)).verdict).toBe('ok')
    expect(drift('constant', new Float64Array(1_000).fill(8)).verdict).toBe('bad')
    expect(drift('constant', new Float64Array(1_000).fill(6.5)).verdict).toBe('bad')
  })

  it('sees that an empty column has values, and that a column has none any more', () => {
    expect(drift('empty', new Float64Array(1_000).fill(Number.NaN)).verdict).toBe('ok')
    expect(drift('empty', uniform(1_000)).verdict).toBe('bad')
    expect(drift('number', new Float64Array(1_000).fill(Number.NaN)).verdict).toBe('bad')
  })

  it('says so where a column is not in the log, is not an input, or where there is no profile', () => {
    const findings = decideMonitor(monitorOf('drift', { columns: ['number', 'nonsense'] }), factsOf())
    expect(findings.map(({ subject, verdict }) => [subject, verdict])).toEqual([
      ['number', 'insufficient'],
      ['nonsense', 'insufficient'],
    ])
    expect(findings[0]!.why).toBe('number of m@3 is not in the prediction log')
    expect(decideMonitor(monitorOf('drift'), factsOf({}, { profile: null }))).toMatchObject([
      { subject: '', verdict: 'insufficient' },
    ])
    expect(decideMonitor(monitorOf('predictionDrift'), factsOf({}, { counts: null }))).toMatchObject([
      { verdict: 'insufficient', why: 'm@3 made no live predictions in the window' },
    ])
  })

  it('raises few false alarms: none in 400 quiet windows of 20 columns', () => {
    let bad = 0
    for (let window = 0; window < 400; window++) {
      const columns: WindowFacts['profile'] = {
        ...PROFILE,
        columns: Array.from({ length: 20 }, (_, i) => ({ ...profileOf('number'), name: `c${i}` })),
      }
      const counts = Object.fromEntries(
        columns.columns.map(({ name }, i) => [
          name,
          counted(profileOf('number'), uniform(250, 1_000 + window * 20 + i)),
        ]),
      )
      const findings = decideMonitor(monitorOf('drift'), factsOf(counts, { profile: columns }))
      bad += findings.filter(({ verdict }) => verdict === 'bad').length
    }
    expect(bad).toBe(0)
  })
})

describe('missing and unseen values', () => {
  const withMissing = (missing: number): ColumnCounts => {
    const counts = counted(profileOf('number'), uniform(1_000 - missing))
    counts[0] = missing
    return counts
  }
  const kinds = (unseen: number): ColumnCounts => [0, unseen, 250, 250, 250, 250 - unseen]

  it('are bad when their share rises by more than the limit', () => {
    const of200 = decideMonitor(monitorOf('missing'), factsOf({ number: withMissing(200) }))
    expect(of(of200, 'number')).toMatchObject({ verdict: 'bad', value: 0.2 })
    const of20 = decideMonitor(monitorOf('missing'), factsOf({ number: withMissing(20) }))
    expect(of(of20, 'number')).toMatchObject({ verdict: 'ok', value: 0.02 })
  })

  it('are unseen only where values have names', () => {
    const found = decideMonitor(monitorOf('unseen'), factsOf({ kind: kinds(100) }))
    expect(found.map((finding) => finding.subject)).toEqual(['kind'])
    expect(found[0]).toMatchObject({ verdict: 'bad', value: 0.1 })
    expect(found[0]!.why).toMatch(/10% of kind unknown to the baseline profile, 0% before/)
    expect(decideMonitor(monitorOf('unseen'), factsOf({ kind: kinds(10) }))[0]!.verdict).toBe('ok')
  })

  it('compare with what the profile left out of its most frequent values', () => {
    const many = categoricalProfile(
      'kind',
      Array.from({ length: 5_000 }, (_, i) => `k${i % 100}`),
    )
    const profile = { ...PROFILE, columns: [many] }
    const current = baselineCounts(many).map((rows) => rows / 5)
    expect(decideMonitor(monitorOf('unseen'), factsOf({ kind: current }, { profile }))[0]).toMatchObject({
      verdict: 'ok',
      value: 0,
    })
  })
})

describe('what labels say', () => {
  const sums = { predictions: 1_200, labelled: 1_000, lossSum: 400, lossSquares: 260, labelSum: 300, scoreSum: 310 }
  const judge = (name: MonitorKind, quality: Partial<typeof sums> | null, overrides: Partial<WindowFacts> = {}) =>
    decideMonitor(monitorOf(name), factsOf({}, { quality: quality && { ...sums, ...quality }, ...overrides }))[0]!

  it('is quality: bad where the mean loss exceeds that of the evaluation by more than the limit', () => {
    expect(judge('quality', {})).toMatchObject({ verdict: 'ok', value: 0 })
    expect(judge('quality', { lossSum: 500, lossSquares: 350 })).toMatchObject({ verdict: 'bad', n: 1_000 })
    expect(judge('quality', { lossSum: 500, lossSquares: 350 }).why).toMatch(/1,000 of 1,200 predictions have labels/)
  })

  it('is not judged on a few labels, on none, or without an evaluation', () => {
    const few = judge('quality', { labelled: 8, lossSum: 40, lossSquares: 300 })
    expect(few).toMatchObject({ verdict: 'insufficient', n: 8, value: 4.6 })
    expect(judge('quality', { labelled: 0 }).why).toBe('no labels for 1,200 predictions within 1 d')
    expect(judge('quality', null).why).toBe('m@3 made no live predictions in the window')
    expect(judge('quality', {}, { reference: null }).why).toMatch(/no evaluation/)
  })

  it('is not bad by chance: a large difference of very noisy losses', () => {
    expect(judge('quality', { labelled: 200, lossSum: 100, lossSquares: 5_000 })).toMatchObject({ verdict: 'ok' })
  })

  it('is predicted ÷ actual: bad beyond the limit either way', () => {
    expect(judge('predictedActual', {})).toMatchObject({ verdict: 'ok' })
    expect(judge('predictedActual', { scoreSum: 420 })).toMatchObject({ verdict: 'bad', value: 1.4 })
    expect(judge('predictedActual', { scoreSum: 200 })).toMatchObject({ verdict: 'bad' })
    expect(judge('predictedActual', { labelled: 100, labelSum: 30, scoreSum: 42 }).verdict).toBe('insufficient')
  })

  it('takes the errors of a regression as they are', () => {
    const noisy = { labelSum: 1_000, scoreSum: 1_500, lossSum: 1e6 }
    expect(judge('predictedActual', noisy, { loss: 'squaredError' }).verdict).toBe('ok')
    expect(judge('predictedActual', { ...noisy, lossSum: 500 }, { loss: 'squaredError' }).verdict).toBe('bad')
  })
})

describe('traffic, silence and age', () => {
  it('counts requests against both bounds, and scales what is sampled', () => {
    const bounds = monitorOf('traffic', { min: 100, max: 5_000 })
    expect(decideMonitor(bounds, factsOf({}, { requests: 99 }))[0]).toMatchObject({ verdict: 'bad', limit: 100 })
    expect(decideMonitor(bounds, factsOf({}, { requests: 100 }))[0]).toMatchObject({ verdict: 'ok' })
    expect(decideMonitor(bounds, factsOf({}, { requests: 1_000, logShare: 0.1 }))[0]).toMatchObject({
      verdict: 'bad',
      value: 10_000,
      why: '10,000 requests in the window, 100 to 5,000 expected, estimated from the 10% that is logged',
    })
    expect(decideMonitor(bounds, factsOf({}, { requests: 0, logShare: 0 }))[0]).toMatchObject({
      verdict: 'insufficient',
      why: 'predictions are not logged',
    })
  })

  it('measures silence from the last request, or from the champion where there was none', () => {
    const silence = monitorOf('silence', { limit: HOUR_MS })
    const at = (lastRequestMs: number | null, nowMs: number) =>
      decideMonitor(silence, factsOf({}, { lastRequestMs, nowMs, championSinceMs: HOUR_MS }))[0]!
    expect(at(3 * HOUR_MS, 4 * HOUR_MS)).toMatchObject({ verdict: 'ok', value: HOUR_MS })
    expect(at(3 * HOUR_MS, 4 * HOUR_MS + 1)).toMatchObject({ verdict: 'bad' })
    expect(at(null, 3 * HOUR_MS)).toMatchObject({
      verdict: 'bad',
      why: expect.stringMatching(/^no request for 2 h \(there was none yet\)/),
    })
    // A calendar that was set back.
    expect(at(3 * HOUR_MS, 0)).toMatchObject({ verdict: 'ok', value: 0 })
  })

  it('measures age from when the version was made', () => {
    const age = monitorOf('modelAge', { limit: 7 * DAY_MS })
    expect(decideMonitor(age, factsOf({}, { nowMs: 8 * DAY_MS }))[0]).toMatchObject({ verdict: 'bad' })
    expect(decideMonitor(age, factsOf({}, { nowMs: 6 * DAY_MS }))[0]).toMatchObject({ verdict: 'ok' })
  })
})
