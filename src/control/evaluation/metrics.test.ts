import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { metricsOf } from '../../config/metrics.ts'
import { bestConstant, LOSSES, rowLosses } from './losses.ts'
import { binaryMetrics, METRIC_NAMES, regressionMetrics } from './metrics.ts'

describe('binaryMetrics', () => {
  it('gives the figures of a small example worked out by hand', () => {
    const { values } = binaryMetrics(Float64Array.of(0.9, 0.6, 0.4, 0.2), Uint8Array.of(1, 0, 1, 0))
    expect(values).toMatchObject({
      auc: 0.75,
      accuracy: 0.5,
      precision: 0.5,
      recall: 0.5,
      f1: 0.5,
      positiveRate: 0.5,
      n: 4,
    })
    expect(values.brier).toBeCloseTo((0.01 + 0.36 + 0.36 + 0.04) / 4, 12)
    expect(values.logLoss).toBeCloseTo(-(Math.log(0.9) + Math.log(0.4) + Math.log(0.4) + Math.log(0.8)) / 4, 12)
    expect(values.calibration).toBeCloseTo(0.525 / 0.5, 12)
    expect(values.ece).toBeCloseTo((0.1 + 0.6 + 0.6 + 0.2) / 4, 12)
  })

  it('says what is not defined and why, instead of NaN', () => {
    const { values, undefinedBecause } = binaryMetrics(Float64Array.of(0.1, 0.2), Uint8Array.of(0, 0))
    expect(values).toMatchObject({ auc: null, precision: null, recall: null, f1: null, calibration: null })
    expect(undefinedBecause.auc).toBe('the rows hold one class only')
    expect(undefinedBecause.precision).toContain('no row scores 0.5')
  })

  it('never holds NaN or infinity, whatever the scores', () => {
    const row = fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), fc.constantFrom(0, 1))
    fc.assert(
      fc.property(fc.array(row, { minLength: 1 }), (rows) => {
        const { values } = binaryMetrics(
          Float64Array.from(rows, ([score]) => score),
          Uint8Array.from(rows, ([, flag]) => flag),
        )
        for (const value of Object.values(values)) expect(value === null || Number.isFinite(value)).toBe(true)
      }),
    )
  })
})

describe('regressionMetrics', () => {
  it('gives the figures of a small example worked out by hand', () => {
    const { values } = regressionMetrics(Float64Array.of(2, 4, 5), Float64Array.of(1, 4, 7))
    expect(values.rmse).toBeCloseTo(Math.sqrt(5 / 3), 12)
    expect(values.mae).toBeCloseTo(1, 12)
    expect(values.mape).toBeCloseTo((1 + 0 + 2 / 7) / 3, 12)
    expect(values.r2).toBeCloseTo(1 - 5 / 18, 12)
    expect(values.meanError).toBeCloseTo(-1 / 3, 12)
  })

  it('leaves out MAPE with a label of 0 and R² with labels that never differ', () => {
    const { values, undefinedBecause } = regressionMetrics(Float64Array.of(1, 2), Float64Array.of(0, 0))
    expect(values).toMatchObject({ mape: null, r2: null })
    expect(Object.keys(undefinedBecause)).toEqual(['mape', 'r2'])
  })

  it('calls an error too large for a number by its name', () => {
    const { values, undefinedBecause } = regressionMetrics(Float64Array.of(1e200, 1), Float64Array.of(-1e200, 1))
    expect(values.rmse).toBeNull()
    expect(undefinedBecause.rmse).toContain('too large')
  })
})

describe('the names of metrics', () => {
  it.each(['binary', 'regression'] as const)('of a %s task cover all that a configuration may bound', (task) => {
    expect(METRIC_NAMES[task]).toEqual(expect.arrayContaining(Object.keys(metricsOf[task])))
  })

  it('are those that are measured', () => {
    const binary = binaryMetrics(Float64Array.of(0.1, 0.9), Uint8Array.of(0, 1))
    const regression = regressionMetrics(Float64Array.of(1, 2), Float64Array.of(1, 2))
    expect(Object.keys(binary.values)).toEqual(METRIC_NAMES.binary)
    expect(Object.keys(regression.values)).toEqual(METRIC_NAMES.regression)
  })
})

describe('losses', () => {
  it('charge 16.1 for a certain mistake, not infinity', () => {
    expect(LOSSES.logLoss(1, 0)).toBeCloseTo(16.118, 3)
    expect(LOSSES.logLoss(0, 1)).toBeCloseTo(16.118, 3)
  })

  it('have the mean as their best constant, the absolute error the median', () => {
    const labels = Float64Array.of(0, 0, 1, 7, 2)
    for (const name of ['brier', 'squaredError', 'absoluteError'] as const) {
      const total = (value: number) =>
        rowLosses(
          name,
          labels.map(() => value),
          labels,
        ).reduce((a, b) => a + b, 0)
      const { value } = bestConstant(name, labels)
      expect(total(value)).toBeLessThanOrEqual(total(value + 0.01))
      expect(total(value)).toBeLessThanOrEqual(total(value - 0.01))
    }
    expect(bestConstant('absoluteError', Float64Array.of(1, 2, 3, 9))).toEqual({ kind: 'median', value: 2.5 })
    expect(bestConstant('logLoss', Float64Array.of(1, 0, 0, 0))).toEqual({ kind: 'mean', value: 0.25 })
  })
})
