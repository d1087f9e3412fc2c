import { describe, expect, it } from 'vitest'
import { runPython, scientificPython } from '../../testing/scientific-python.ts'
import { bcaOfMean } from './bootstrap.ts'
import { deLong } from './delong.ts'
import { homogeneity } from './drift.ts'
import { jensenShannon } from './jensen-shannon.ts'
import { normalCdf, normalQuantile } from './normal.ts'
import { shareInterval } from './proportions.ts'
import { seededRandom } from './random.ts'
import type { Random } from './random.ts'
import { logErrorEvidence } from './sequential/error-process.ts'
import { latencyBands } from './sequential/latency-bands.ts'
import { chiSquaredQuantile, chiSquaredTail, logGamma } from './special-functions.ts'

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

const SPECIAL = `
import json, sys
from scipy.special import gammaln
from scipy.stats import chi2
question = json.load(sys.stdin)
print(json.dumps(dict(gamma=[gammaln(x) for x in question['x']],
    tail=[chi2.sf(x, k) for x, k in question['chi']], quantile=[chi2.ppf(p, k) for p, k in question['p']])))
`

const COUNTS = `
import json, sys, numpy as np
from scipy.stats import chi2_contingency
from scipy.spatial.distance import jensenshannon
from scipy.stats import binomtest
question = json.load(sys.stdin)
a, b = np.array(question['baseline']), np.array(question['current'])
chi, p, degrees, _ = chi2_contingency(np.array([a, b]), correction=False)
wilson = [binomtest(k, n).proportion_ci(1 - 2 * alpha, 'wilson') for k, n, alpha in question['shares']]
print(json.dumps(dict(chi=chi, p=p, degrees=int(degrees), js=jensenshannon(a, b, 2) ** 2,
    wilson=[[w.low, w.high] for w in wilson])))
`

/** Far out, and where counts are huge or nearly none. */
const EDGES = `
import json, sys
from scipy.stats import chi2, hypergeom, norm, binomtest
question = json.load(sys.stdin)
rare = []
for (a, b), n, m in question['rare']:
    h = hypergeom(n + m, a + b, n)
    rare.append(min(1, 2 * min(h.cdf(a), h.sf(a - 1))))
print(json.dumps(dict(rare=rare, tails=[norm.cdf(z) for z in question['z']], ppf=[norm.ppf(p) for p in question['p']],
    chi=[chi2.sf(x, k) for x, k in question['chi']],
    wilson=[[w.low, w.high] for w in [binomtest(k, n).proportion_ci(1 - 2 * a, 'wilson') for k, n, a in question['shares']]])))
`

/** The mixtures behind the sequential tests, integrated and added up by other means. */
const MIXTURES = `
import json, sys, numpy as np
from scipy.integrate import quad
from scipy.special import logsumexp
from scipy.stats import beta, binom
question = json.load(sys.stdin)
def error(steps, margin):
    u = np.geomspace(0.02, 11, 48); w = u * np.exp(-u ** 2 / 2); w /= w.sum()
    theta = lambda share, r: share * r / (share * r + 1 - share)
    total = np.log(w)
    for s in steps:
        n, k = s['challengerErrors'] + s['championErrors'], s['challengerErrors']
        total = total + binom.logpmf(k, n, theta(s['share'], margin * np.exp(u))) - binom.logpmf(k, n, theta(s['share'], margin))
    return logsumexp(total)
def quantile(below, n, p):
    f = lambda x: np.exp(binom.logpmf(below, n, x) - binom.logpmf(below, n, p)) * beta.pdf(x, 70 * p, 70 * (1 - p))
    return quad(f, 0, 1, points=[below / n], limit=500)[0]
print(json.dumps(dict(error=[error(c['steps'], c['margin']) for c in question['errors']],
    quantile=[quantile(*c) for c in question['quantiles']])))
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

  it('ln Γ, and tails and quantiles of χ², agree to eleven digits, far out as well', () => {
    const x = [1e-5, 0.3, 0.5, 1, 1.5, 2, 7.7, 14.9, 15.1, 100, 12_345.6, 1e9]
    const chi = [1, 2, 3, 9, 50, 999].flatMap((degrees) =>
      [0.001, 0.1, 0.5, 1, 2, 5].map((scale) => [degrees * scale, degrees]),
    )
    const p = [1, 4, 9, 100].flatMap((degrees) => [1e-6, 0.01, 0.05, 0.5, 0.95, 0.999_999].map((q) => [q, degrees]))
    const theirs = runPython<{ gamma: number[]; tail: number[]; quantile: number[] }>(python!, SPECIAL, { x, chi, p })
    for (const [i, value] of x.entries()) expect(off(logGamma(value), theirs.gamma[i]!)).toBeLessThan(1e-13)
    for (const [i, [value, degrees]] of chi.entries()) {
      expect(off(chiSquaredTail(value!, degrees!), theirs.tail[i]!), `${value}, ${degrees}`).toBeLessThan(1e-11)
    }
    for (const [i, [probability, degrees]] of p.entries()) {
      expect(off(chiSquaredQuantile(probability!, degrees!), theirs.quantile[i]!)).toBeLessThan(1e-11)
    }
  })

  it('homogeneity, Jensen-Shannon and Wilson’s interval agree to ten digits', () => {
    const [baseline, current] = [
      [400, 250, 90, 60],
      [120, 100, 60, 44],
    ]
    const shares = [
      [0, 20, 0.05],
      [3, 20, 0.01],
      [500, 1_000, 0.001],
      [20, 20, 0.05],
    ] as const
    type Theirs = { chi: number; p: number; degrees: number; js: number; wilson: [number, number][] }
    const theirs = runPython<Theirs>(python!, COUNTS, { baseline, current, shares })
    const ours = homogeneity(baseline!, current!)
    expect(off(ours.chiSquared, theirs.chi)).toBeLessThan(1e-12)
    expect(off(ours.pValue, theirs.p)).toBeLessThan(1e-11)
    expect(ours.degrees).toBe(theirs.degrees)
    expect(off(jensenShannon(baseline!, current!).divergence, theirs.js)).toBeLessThan(1e-10)
    for (const [i, [count, rows, alphaOf]] of shares.entries()) {
      const { lower, upper } = shareInterval(count, rows, alphaOf)
      expect(lower).toBeCloseTo(theirs.wilson[i]![0], 10)
      expect(upper).toBeCloseTo(theirs.wilson[i]![1], 10)
    }
  })

  it('agree far out, on huge counts and on rare ones', () => {
    const rare: [counts: [number, number], n: number, m: number][] = [
      [[0, 1], 20_000, 200],
      [[3, 0], 150, 90_000],
      [[0, 4], 1_000_000, 1_000_000],
      [[2, 7], 50_000, 400],
      [[40, 0], 10_000_000, 500],
    ]
    const z = [-8.5, -12, -20, -30, -37]
    const p = [1e-300, 1e-100, 1e-20, 1 - 1e-15]
    const chi = [
      [1e6 + 5_000, 1e6],
      [900_000, 1e6],
      [1_500, 10],
      [1e-10, 3],
      [0.5, 0.5],
    ]
    const shares = [
      [3, 1_000_000_000, 1e-9],
      [999_999_999, 1_000_000_000, 1e-6],
      [0, 1, 0.001],
      [1, 1, 0.25],
    ] as const
    type Theirs = { rare: number[]; tails: number[]; ppf: number[]; chi: number[]; wilson: [number, number][] }
    const theirs = runPython<Theirs>(python!, EDGES, { rare, z, p, chi, shares })
    for (const [i, [[ours, other], n, m]] of rare.entries()) {
      // A single frequent bin has nothing to compare, so that the rare one decides alone.
      const { pValue } = homogeneity([n - ours, ours], [m - other, other])
      expect(Math.abs(pValue - theirs.rare[i]!), `${ours}, ${other}`).toBeLessThan(1e-6 * theirs.rare[i]!)
    }
    for (const [i, value] of z.entries()) expect(off(normalCdf(value), theirs.tails[i]!), `${value}`).toBeLessThan(1e-7)
    for (const [i, value] of p.entries())
      expect(off(normalQuantile(value), theirs.ppf[i]!), `${value}`).toBeLessThan(1e-12)
    for (const [i, [value, degrees]] of chi.entries())
      expect(off(chiSquaredTail(value!, degrees!), theirs.chi[i]!), `${value}, ${degrees}`).toBeLessThan(1e-8)
    for (const [i, [count, rows, alphaOf]] of shares.entries()) {
      const { lower, upper } = shareInterval(count, rows, alphaOf)
      expect(Math.abs(lower - theirs.wilson[i]![0])).toBeLessThan(1e-12)
      expect(Math.abs(upper - theirs.wilson[i]![1])).toBeLessThan(1e-12)
    }
  })

  it('e-values are the mixtures of binomial likelihood ratios that they are said to be', () => {
    const errors = [
      { margin: 1, steps: [{ share: 0.1, challengerErrors: 9, championErrors: 31 }] },
      {
        margin: 1.3,
        steps: [
          { share: 0.1, challengerErrors: 40, championErrors: 200 },
          { share: 0.5, challengerErrors: 120, championErrors: 80 },
        ],
      },
    ]
    // The bounds of a band: just outside of it the integral is at least 4/alpha, just inside it is less.
    const counts: [number, number, number][] = []
    const pairs = [
      [1_000, 0.5],
      [1_000, 0.99],
      [300, 0.99],
      [20_000, 0.5],
    ] as const
    for (const [requests, share] of pairs) {
      for (let below = 0; below < requests; below++) {
        const [here, next] = [below, below + 1].map((k) => excludes(k, requests, share))
        if (here !== next) counts.push([below, requests, share], [below + 1, requests, share])
      }
    }
    const theirs = runPython<{ error: number[]; quantile: number[] }>(python!, MIXTURES, { errors, quantiles: counts })
    for (const [i, { steps, margin }] of errors.entries()) {
      expect(off(logErrorEvidence(steps, margin), theirs.error[i]!)).toBeLessThan(1e-9)
    }
    expect(counts.length).toBeGreaterThanOrEqual(12)
    for (const [i, [below, requests, share]] of counts.entries()) {
      expect(theirs.quantile[i]! >= 400, `${below} of ${requests}, ${share}`).toBe(excludes(below, requests, share))
    }
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

const off = (ours: number, theirs: number) => (theirs === 0 ? Math.abs(ours) : Math.abs(ours / theirs - 1))

/** Whether a band of alpha 1% excludes the p-quantile from where `below` of the requests are, on either side. */
function excludes(below: number, requests: number, share: number): boolean {
  const counts = Object.fromEntries(
    [
      [10, below],
      [20, requests - below],
    ].filter(([, count]) => count! > 0),
  )
  const options = { alpha: 0.01, margin: 1, boundMs: (bucket: number) => bucket, lastBucket: 300 }
  const { p50, p99 } = latencyBands({ challenger: counts, champion: {} }, options).challenger
  const band = share === 0.5 ? p50 : p99
  // Too few up to 10: the quantile is above it. Too many: it is at most 10.
  return below < requests * share ? band.lowerMs >= 10 : band.upperMs === 10
}

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
