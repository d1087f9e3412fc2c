import { describe, expect, it } from 'vitest'
import { seededRandom } from '../../kernel/stats/random.ts'
import { runPython, scientificPython } from '../../testing/scientific-python.ts'
import { binaryMetrics, regressionMetrics } from './metrics.ts'

const python = scientificPython()

const BINARY = `
import json, sys, numpy as np
from sklearn.metrics import *
q = json.load(sys.stdin)
y, p = np.array(q['positive']), np.array(q['scores'])
d = (p >= 0.5).astype(int)
bins = np.minimum((p * 10).astype(int), 9)
ece = sum(abs((p[bins == b] - y[bins == b]).sum()) for b in range(10)) / len(y)
print(json.dumps(dict(auc=roc_auc_score(y, p), logLoss=log_loss(y, p), brier=brier_score_loss(y, p),
    accuracy=accuracy_score(y, d), precision=precision_score(y, d), recall=recall_score(y, d), f1=f1_score(y, d),
    calibration=p.mean() / y.mean(), ece=ece, positiveRate=y.mean(), meanScore=p.mean(), n=len(y))))
`

const REGRESSION = `
import json, sys, numpy as np
from sklearn.metrics import *
q = json.load(sys.stdin)
y, p = np.array(q['actual']), np.array(q['predicted'])
print(json.dumps(dict(rmse=root_mean_squared_error(y, p), mae=mean_absolute_error(y, p),
    mape=mean_absolute_percentage_error(y, p), r2=r2_score(y, p), meanError=(p - y).mean(), n=len(y))))
`

describe.runIf(python !== null)('metrics against scikit-learn', () => {
  it('of a binary task agree to ten digits, tied scores included', () => {
    const random = seededRandom(1)
    const scores = Float64Array.from({ length: 2000 }, () => Math.round(1000 * random.uniform()) / 1000)
    const positive = Uint8Array.from(scores, (score) => (random.uniform() < 0.1 + 0.8 * score ** 2 ? 1 : 0))
    // scikit-learn clips the log loss closer to 0 and 1 than we do.
    const inside = scores.map((score) => Math.min(Math.max(score, 0.001), 0.999))
    const theirs = runPython<Record<string, number>>(python!, BINARY, {
      scores: Array.from(inside),
      positive: Array.from(positive),
    })
    expect(greatestDifference(binaryMetrics(inside, positive).values, theirs)).toBeLessThan(1e-10)
  })

  it('of a regression agree to ten digits', () => {
    const random = seededRandom(2)
    const actual = Float64Array.from({ length: 2000 }, () => 5 + 2 * random.normal())
    const predicted = actual.map((value) => 0.9 * value + random.normal())
    const theirs = runPython<Record<string, number>>(python!, REGRESSION, {
      actual: Array.from(actual),
      predicted: Array.from(predicted),
    })
    expect(greatestDifference(regressionMetrics(predicted, actual).values, theirs)).toBeLessThan(1e-10)
  })
})

/** Infinite where one side lacks a figure. */
function greatestDifference(ours: Record<string, number | null>, theirs: Record<string, number>): number {
  const names = new Set([...Object.keys(ours), ...Object.keys(theirs)])
  return Math.max(...Array.from(names, (name) => Math.abs((ours[name] ?? Infinity) - (theirs[name] ?? -Infinity))))
}
