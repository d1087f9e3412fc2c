import { describe, expect, it } from 'vitest'
import { InferenceTotals } from './statistics.ts'

const times = (fromMs: number) => ({
  arrivedMs: fromMs,
  queuedMs: fromMs + 1,
  startedMs: fromMs + 3,
  endedMs: fromMs + 7,
  encodingMs: fromMs + 8,
  encodedMs: fromMs + 8.5,
})

describe('the statistics of a version', () => {
  it('charge each request of a run with the whole run, and count runs and rows once', () => {
    const totals = new InferenceTotals()
    totals.countRun(5)
    totals.countSuccess(times(100))
    totals.countSuccess(times(100))
    totals.countRun(1)
    totals.countFailure(2)
    expect(totals.statistics('m', '3', 1_000_000)).toEqual({
      name: 'm',
      version: '3',
      lastInferenceMs: 1_000_109,
      inferenceCount: 6,
      executionCount: 2,
      success: { count: 2, ns: 17_000_000 },
      fail: { count: 1, ns: 2_000_000 },
      computeInput: { count: 2, ns: 2_000_000 },
      queue: { count: 2, ns: 4_000_000 },
      computeInfer: { count: 2, ns: 8_000_000 },
      computeOutput: { count: 2, ns: 1_000_000 },
    })
  })

  it('of a version that nobody has asked are all zero', () => {
    const { lastInferenceMs, success, inferenceCount } = new InferenceTotals().statistics('m', '1', 1_000)
    expect({ lastInferenceMs, success, inferenceCount }).toEqual({
      lastInferenceMs: 0,
      success: { count: 0, ns: 0 },
      inferenceCount: 0,
    })
  })
})
