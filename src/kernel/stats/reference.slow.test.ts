import { describe, expect, it } from 'vitest'
import { runPython, scientificPython } from '../../testing/scientific-python.ts'
import { bcaOfMean } from './bootstrap.ts'
import { deLong } from './delong.ts'
import { normalCdf, normalQuantile } from './normal.ts'
import { seededRandom } from './random.ts'
import type { Random } from './random.ts'

const python = scientificPython()

const BCA = `
import json, sys, numpy as np
from scipy.stats import bootstrap
question = json.load(sys.stdin)
answers = []
for case in question:
    rng = np.random.default_rng(1)
    if case['clusters'] is None:
        data, statistic = (np.array(case['values']),), np.mean
        vectorized = True
    else:
        values, clusters = np.array(case['values']), np.array(case['clusters'])
        sums = np.bincount(clusters, weights=values); sizes = np.bincount(clusters).astype(float)
        data, vectorized = (sums, sizes), True
        statistic = lambda s, n, axis=-1: s.sum(axis=axis) / n.sum(axis=axis)
    result = bootstrap(data, statistic, paired=True, vectorized=vectorized, n_resamples=case['resamples'],
        confidence_level=1 - 2 * case['alpha'], method='BCa', rng=rng, batch=200)
    answers.append(dict(lower=result.confidence_interval.low, upper=result.confidence_interval.high, error=float(result.standard_error)))
print(json.dumps(answers))
`

const NORMAL = `
import json, sys
from scipy.stats import norm
question = json.load(sys.stdin)
print(json.dumps(dict(cdf=[norm.cdf(z) for z in question['z']], ppf=[norm.ppf(p) for p in question['p']])))
`

const AUC = `
import json, sys
from sklearn.metrics import roc_auc_score
question = json.load(sys.stdin)
print(json.dumps([roc_auc_score(question['positive'], question[name]) for name in ('first', 'second')]))
`

describe.runIf(python !== null)('against scipy and scikit-learn', () => {
  const alpha = 0.05
  const resamples = 20_000

  it('the BCa bounds agree with scipy.stats.bootstrap to within the noise of resampling', () => {
    const cases = [
      { name: 'normal', values: series(400, (random) => random.normal() + 0.1) },
      { name: 'skewed', values: series(60, (random) => Math.exp(1.2 * random.normal())) },
      { name: 'heavy tails, 30 rows', values: series(30, (random) => random.normal() / (0.2 + random.uniform())) },
      { name: 'clusters of unequal size', ...clustered(50) },
    ].map((one) => ({ clusters: null, ...one, alpha, resamples }))
    const answers = runPython<{ lower: number; upper: number; error: number }[]>(python!, BCA, cases)
    for (const [i, { name, values, clusters }] of cases.entries()) {
      const ours = bcaOfMean(Float64Array.from(values), {
        alpha,
        resamples,
        seed: 3,
        clusters: clusters && Uint32Array.from(clusters),
      })
      const { lower, upper, error } = answers[i]!
      // A 5% quantile of 20,000 resamples has a standard error of 0.015 standard errors of the mean; the tail of the
      // skewed ones is thinner.
      expect(Math.abs(ours.lower! - lower) / error, `lower bound, ${name}`).toBeLessThan(0.1)
      expect(Math.abs(ours.upper! - upper) / error, `upper bound, ${name}`).toBeLessThan(0.1)
      expect(Math.abs(ours.standardError / error - 1), `standard error, ${name}`).toBeLessThan(0.03)
    }
  })

  it('the normal distribution and its quantiles agree to ten digits', () => {
    const z = Array.from({ length: 161 }, (_, i) => -8 + i / 10)
    const p = Array.from({ length: 999 }, (_, i) => (i + 1) / 1000).concat([1e-9, 1e-15, 1 - 1e-9])
    const answer = runPython<{ cdf: number[]; ppf: number[] }>(python!, NORMAL, { z, p })
    expect(Math.max(...z.map((value, i) => Math.abs(normalCdf(value) - answer.cdf[i]!)))).toBeLessThan(1e-14)
    expect(Math.max(...p.map((value, i) => Math.abs(normalQuantile(value) - answer.ppf[i]!)))).toBeLessThan(1e-10)
  })

  it('both areas of a DeLong comparison are those of scikit-learn, ties included', () => {
    const random = seededRandom(9)
    const positive = Uint8Array.from({ length: 500 }, () => (random.uniform() < 0.3 ? 1 : 0))
    const score = () => Float64Array.from(positive, (flag) => Math.round(10 * (flag + random.normal())) / 10)
    const [first, second] = [score(), score()]
    const ours = deLong(first, second, positive)!
    const theirs = runPython<number[]>(python!, AUC, {
      positive: Array.from(positive),
      first: Array.from(first),
      second: Array.from(second),
    })
    expect(ours.first).toBeCloseTo(theirs[0]!, 12)
    expect(ours.second).toBeCloseTo(theirs[1]!, 12)
  })
})

function series(rows: number, draw: (random: Random) => number): number[] {
  const random = seededRandom(17)
  return Array.from({ length: rows }, () => draw(random))
}

function clustered(count: number): { values: number[]; clusters: number[] } {
  const random = seededRandom(23)
  const clusters = Array.from({ length: count }, (_, cluster) =>
    Array.from({ length: 1 + (cluster % 12) }, () => cluster),
  ).flat()
  const effects = Array.from({ length: count }, () => random.normal())
  return { clusters, values: clusters.map((cluster) => effects[cluster]! + 0.5 * random.normal()) }
}
