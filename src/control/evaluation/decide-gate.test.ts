import { describe, expect, it } from 'vitest'
import type { GateConfig } from '../../config/project.ts'
import type { BcaInterval } from '../../kernel/stats/bootstrap.ts'
import { seededRandom } from '../../kernel/stats/random.ts'
import type { Random } from '../../kernel/stats/random.ts'
import { gateConfigOf } from '../../testing/control-builders.ts'
import { decideGate, rowsToDecide } from './decide-gate.ts'
import type { GateCheck, GateResult } from './decide-gate.ts'
import type { ChampionFigures, EvaluationFigures } from './evaluation.ts'
import { measure } from './figures.ts'

describe('the gate of a first version', () => {
  it('passes what beats a constant with the whole interval above zero', () => {
    const result = decide({ figures: figures() })
    expect(result).toMatchObject({ verdict: 'passed', provenBetter: false })
    expect(checkOf(result, 'beats-constant').why).toBe(
      "Better than a constant: logLoss 0.45 against 0.5 of the constant 0.2 (mean of the holdout's labels): " +
        'gain +0.05 (+0.04 … +0.06, each bound at 5%; 1000 rows).',
    )
  })

  it('fails what is worse than a constant', () => {
    const result = decide({ figures: figures({ constantGain: interval(-0.05, 0.01) }) })
    expect(result.verdict).toBe('failed')
    expect(result.why).toContain('Not better than a constant')
  })

  it('stays undecided on an interval over zero and says how many rows would decide it', () => {
    const result = decide({ figures: figures({ constantGain: interval(0.01, 0.01) }) })
    expect(result.verdict).toBe('inconclusive')
    const check = checkOf(result, 'beats-constant')
    expect(check.figures.rowsToDecide).toBe(6183) // 1000 · ((1.6449 + 0.8416) · 0.01 / 0.01)²
    expect(check.why).toContain('about 6183 rows would prove it if the gain stays the same')
  })
})

describe('challenger against champion', () => {
  it.each<[GateConfig['comparison'], number, number, GateResult['verdict'], boolean]>([
    // comparison, gain, standard error → verdict, proven better; margin 0.02
    ['nonInferiority', 0.05, 0.005, 'passed', true],
    ['nonInferiority', 0.001, 0.005, 'passed', false],
    ['nonInferiority', -0.005, 0.005, 'passed', false],
    ['nonInferiority', -0.02, 0.005, 'inconclusive', false],
    ['nonInferiority', -0.05, 0.005, 'failed', false],
    ['superiority', 0.05, 0.005, 'passed', true],
    ['superiority', 0.02, 0.005, 'inconclusive', false],
    ['superiority', 0.001, 0.005, 'failed', false],
  ])('under %s, a gain of %d ± %d is %s (proven better: %s)', (comparison, gain, error, verdict, better) => {
    const result = decide({
      config: { comparison, margin: 0.02 },
      figures: figures({ champion: champion({ gain: interval(gain, error) }) }),
    })
    expect(result).toMatchObject({ verdict, provenBetter: better })
  })

  it('tells apart what passes from what is proven better', () => {
    const result = decide({
      config: { margin: 0.02 },
      figures: figures({ champion: champion({ gain: interval(0.001, 0.005) }) }),
    })
    expect(checkOf(result, 'champion').why).toBe(
      'Proven not worse by more than 0.02, though not proven better: logLoss gain on late@3 +0.001 (-0.009 … +0.011, each bound at 5%; 1000 rows).',
    )
  })

  it('says in which direction more rows would decide', () => {
    const why = (gain: number) =>
      checkOf(
        decide({ config: { margin: 0 }, figures: figures({ champion: champion({ gain: interval(gain, 0.01) }) }) }),
        'champion',
      ).why
    expect(why(0.005)).toContain('would prove it')
    expect(why(-0.005)).toContain('would disprove it')
    expect(why(0)).toContain('no number of rows within reach')
  })

  it('lets the champion itself through under nonInferiority, even with no margin, and not under superiority', () => {
    const same = figures({ champion: champion({ gain: interval(0, 0) }) })
    const verdictOf = (comparison: GateConfig['comparison']) =>
      checkOf(decide({ config: { comparison, margin: 0 }, figures: same }), 'champion').verdict
    expect(verdictOf('nonInferiority')).toBe('passed')
    expect(verdictOf('superiority')).toBe('failed')
  })

  it('stays undecided without an interval', () => {
    const gain = { ...interval(0.1, 0.01), lower: null, upper: null }
    const result = decide({ figures: figures({ champion: champion({ gain }) }) })
    expect(result).toMatchObject({ verdict: 'inconclusive', provenBetter: false })
  })

  it('fails a signature that callers of the champion do not fit', () => {
    const other = champion()
    other.signature = { ...other.signature, inputs: [{ ...other.signature.inputs[0]!, columns: ['a', 'old'] }] }
    const result = decide({ figures: figures({ champion: other }) })
    expect(checkOf(result, 'signature')).toMatchObject({ verdict: 'failed' })
    expect(result.why).toContain(`Callers of late@3 would break: input 'x' lost column old; input 'x' gained column b`)
  })

  it('warns, and no more, where the AUC points the other way', () => {
    const aucDifference = { first: 0.6, second: 0.7, difference: -0.1, standardError: 0.01, pValue: 1e-9 }
    const result = decide({ figures: figures({ champion: champion({ aucDifference }) }) })
    expect(checkOf(result, 'auc-difference').verdict).toBe('warning')
    expect(result.verdict).toBe('passed')
  })
})

describe('thresholds', () => {
  it('compare the measured figure with both bounds', () => {
    const verdictOf = (min: number | null, max: number | null) =>
      checkOf(decide({ config: { thresholds: [{ metric: 'auc', min, max }] } }), 'threshold:auc')
    expect(verdictOf(0.7, null)).toMatchObject({ verdict: 'passed', why: 'auc 0.72, at least 0.7.' })
    expect(verdictOf(0.73, null)).toMatchObject({ verdict: 'failed', why: 'auc 0.72 is below 0.73.' })
    expect(verdictOf(null, 0.71)).toMatchObject({ verdict: 'failed', why: 'auc 0.72 is above 0.71.' })
  })

  it('on a metric that is not defined here decide nothing', () => {
    const threshold = { metric: 'precision', min: 0.5, max: null }
    const result = decide({ config: { thresholds: [threshold] } })
    expect(result.verdict).toBe('inconclusive')
    expect(result.why).toContain('precision is not defined on this holdout: no row scores 0.5 or more')
  })

  it('on a metric that does not exist are an error that lists those that do', () => {
    const result = decide({ config: { thresholds: [{ metric: 'rmse', min: null, max: 1 }] } })
    expect(result.verdict).toBe('error')
    expect(result.why).toContain('there are: auc, logLoss')
  })
})

describe('metrics that are no numbers', () => {
  it.each([NaN, Infinity])('make the verdict an error: %s', (value) => {
    const broken = figures()
    broken.metrics.values.logLoss = value
    const result = decide({ figures: broken })
    expect(result).toMatchObject({ verdict: 'error', why: `Not every metric is a number: logLoss is ${value}.` })
  })
})

describe('too few rows or clusters', () => {
  it('decide nothing, neither for nor against', () => {
    const worse = figures({ rows: 60, constantGain: interval(-0.05, 0.01) })
    const result = decide({ config: { minRows: 200 }, figures: worse })
    expect(result.verdict).toBe('inconclusive')
    expect(checkOf(result, 'rows').why).toBe('60 rows are too few to judge by: 140 more would reach gate.minRows, 200.')
    expect(checkOf(result, 'beats-constant').verdict).toBe('inconclusive')
  })

  it('of clusters count as well, and prove nothing better', () => {
    const better = { ...figures({ champion: champion({ gain: interval(0.05, 0.001) }) }), clusters: 4 }
    const result = decide({ config: { cluster: 'day', minClusters: 20 }, figures: better })
    expect(result).toMatchObject({ verdict: 'inconclusive', provenBetter: false })
    expect(result.why).toContain(`4 different values of 'day' are too few to resample: 16 more`)
  })
})

describe('the spread of the last versions', () => {
  const of = (...losses: number[]): EvaluationFigures => ({
    ...figures(),
    stability: {
      rows: 1000,
      isSample: false,
      versions: losses.map((meanLoss, i) => ({ version: `late@${i + 1}`, meanLoss })),
      leftOut: [],
    },
  })
  const judged = (maxSpread: number | null, ...losses: number[]) =>
    decide({ figures: of(...losses), config: { stability: { versions: 5, maxSpread } } })

  it('is judged from three versions on', () => {
    expect(checkOf(judged(0.01, 0.44, 0.45), 'stability')).toMatchObject({
      verdict: 'skipped',
      why: '1 earlier versions that passed can be measured: from 2 on their spread is judged.',
    })
    expect(checkOf(judged(0.01, 0.44, 0.45, 0.445), 'stability').verdict).toBe('passed')
  })

  it('passes versions that are alike, with the numbers', () => {
    const found = checkOf(judged(0.02, 0.45, 0.455, 0.452, 0.456, 0.45), 'stability')
    expect(found).toMatchObject({ verdict: 'passed', figures: { versions: 5, rows: 1000, maxSpread: 0.02 } })
    expect(found.why).toMatch(
      /^The last versions are alike: logLoss of late@1 … late@5 on 1000 rows spreads by 0\.00\d+ \(/,
    )
  })

  it('fails a trainer whose models are proven to be unlike, and with it the version', () => {
    const result = judged(0.005, 0.45, 0.6, 0.42, 0.65, 0.44)
    expect(checkOf(result, 'stability')).toMatchObject({ verdict: 'failed' })
    expect(result.verdict).toBe('failed')
    expect(result.why).toContain('gate.stability.maxSpread is 0.005')
  })

  it('is in doubt where only the estimate is too wide', () => {
    const result = judged(0.01, 0.45, 0.47, 0.45, 0.47, 0.452)
    expect(checkOf(result, 'stability').verdict).toBe('inconclusive')
    expect(result.verdict).toBe('inconclusive')
  })

  it('does not take a model that is far better than stale ones for instability, nor those that follow it', () => {
    expect(checkOf(judged(0.005, 0.66, 0.655, 0.66, 0.657, 0.45), 'stability').verdict).toBe('passed')
    expect(checkOf(judged(0.005, 0.66, 0.655, 0.657, 0.45, 0.452), 'stability').verdict).toBe('passed')
  })

  it('is told and not judged without a limit', () => {
    const result = judged(null, 0.45, 0.6, 0.42, 0.65, 0.44)
    expect(checkOf(result, 'stability')).toMatchObject({ verdict: 'skipped', figures: { versions: 5 } })
    expect(result.verdict).toBe('passed')
  })

  it('names versions that could not be measured', () => {
    const some = of(0.45, 0.451, 0.452)
    some.stability!.leftOut.push({ version: 'late@0', why: 'its file is gone' })
    const { why } = checkOf(decide({ figures: some }), 'stability')
    expect(why).toContain('late@0 could not be measured: its file is gone')
  })
})

describe('a gate result', () => {
  it('survives JSON unchanged', () => {
    const broken = figures({ champion: champion() })
    broken.metrics.values.auc = NaN
    const result = decide({ figures: broken })
    expect(JSON.parse(JSON.stringify(result))).toEqual(result)
  })
})

describe('rowsToDecide', () => {
  it('is not known for a gain that is the requirement itself', () => {
    expect(rowsToDecide(interval(0.02, 0.01), 0.02)).toBeNull()
    expect(rowsToDecide(interval(0.02, 0), 0)).toBeNull()
  })
})

// Challenger and champion are the truth's own probabilities with noise on the logit: more noise, more loss.
describe('the gate as a whole, by simulation', () => {
  it('lets a clearly worse challenger through in at most 5% of rounds', () => {
    const passed = shareOf(
      200,
      (random, seed) => duel(random, seed, { noise: 1, championNoise: 0.5, margin: 0.005 }).verdict === 'passed',
    )
    expect(passed).toBeLessThan(0.05)
  })

  it('calls an equal challenger proven better in about 5% of rounds', () => {
    const better = shareOf(
      200,
      (random, seed) => duel(random, seed, { noise: 0.5, championNoise: 0.5, margin: 0.005 }).provenBetter,
    )
    expect(better).toBeLessThan(0.1)
  })

  it('passes and proves a clearly better challenger nearly always', () => {
    const better = shareOf(
      60,
      (random, seed) => duel(random, seed, { noise: 0.3, championNoise: 1, margin: 0.005 }).provenBetter,
    )
    expect(better).toBeGreaterThan(0.9)
  })
})

function duel(
  random: Random,
  seed: number,
  setting: { noise: number; championNoise: number; margin: number },
): GateResult {
  const rows = 500
  const logits = Float64Array.from({ length: rows }, () => random.normal() * 1.5)
  const sigmoid = (x: number) => 1 / (1 + Math.exp(-x))
  const positive = Uint8Array.from(logits, (logit) => (random.uniform() < sigmoid(logit) ? 1 : 0))
  const noisy = (noise: number) => logits.map((logit) => sigmoid(logit + noise * random.normal()))
  const known = { signature: figures().signature, scoreOutput: figures().scoreOutput }
  const gate = gateConfigOf({ margin: setting.margin, resamples: 300 })
  const { figures: measured } = measure({
    task: 'binary',
    gate,
    seed,
    labels: { values: Float64Array.from(positive), positive },
    clusters: null,
    model: { ...known, scores: noisy(setting.noise) },
    champion: { ...known, version: 'late@3', scores: noisy(setting.championNoise) },
  })
  return decideGate({ config: gate, figures: { ...measured, holdoutDigest: 'sha256:0' } })
}

function shareOf(rounds: number, holds: (random: Random, seed: number) => boolean): number {
  const random = seededRandom(11)
  let count = 0
  for (let round = 0; round < rounds; round++) if (holds(random, round)) count += 1
  return count / rounds
}

function decide(given: { config?: Partial<GateConfig>; figures?: EvaluationFigures }): GateResult {
  return decideGate({ config: gateConfigOf({ resamples: 2000, ...given.config }), figures: given.figures ?? figures() })
}

function checkOf(result: GateResult, name: string): GateCheck {
  return result.checks.find((check) => check.name === name)!
}

function figures(
  given: { rows?: number; constantGain?: BcaInterval; champion?: ChampionFigures } = {},
): EvaluationFigures {
  return {
    task: 'binary',
    lossName: 'logLoss',
    rows: given.rows ?? 1000,
    clusters: null,
    signature: {
      inputs: [{ name: 'x', datatype: 'FP32', shape: [-1, 2], columns: ['a', 'b'] }],
      outputs: [{ name: 'p', datatype: 'FP32', shape: [-1], columns: ['p'] }],
    },
    scoreOutput: { output: 'p', index: null },
    metrics: {
      values: { auc: 0.72, logLoss: 0.45, precision: null },
      undefinedBecause: { precision: 'no row scores 0.5 or more' },
    },
    meanLoss: 0.45,
    constant: { kind: 'mean', value: 0.2, meanLoss: 0.5, gain: given.constantGain ?? interval(0.05, 0.005) },
    champion: given.champion ?? null,
    holdoutDigest: 'sha256:0',
  }
}

function champion(change: Partial<ChampionFigures> = {}): ChampionFigures {
  const { signature, scoreOutput, metrics } = figures()
  return {
    version: 'late@3',
    signature,
    scoreOutput,
    metrics,
    meanLoss: 0.46,
    gain: interval(0.01, 0.001),
    aucDifference: null,
    ...change,
  }
}

/** Bounds at two standard errors. */
function interval(mean: number, standardError: number): BcaInterval {
  return {
    mean,
    lower: mean - 2 * standardError,
    upper: mean + 2 * standardError,
    alpha: 0.05,
    standardError,
    bias: 0,
    acceleration: 0,
    resamples: 2000,
    rows: 1000,
    clusters: null,
    units: 1000,
  }
}
