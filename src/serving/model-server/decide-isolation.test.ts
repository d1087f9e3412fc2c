import { describe, expect, it } from 'vitest'
import { decideBeforeLoad, decideByRun, HEAVY_RUN_MS, LARGE_BYTES } from './decide-isolation.ts'

describe('where a model runs', () => {
  it.each([
    ['always', LARGE_BYTES + 1, true, 'own'],
    ['always', 1, false, 'own'],
    ['never', LARGE_BYTES + 1, true, 'here'],
    ['auto', LARGE_BYTES, true, 'measure'],
    ['auto', LARGE_BYTES + 1, false, 'measure'],
    ['auto', LARGE_BYTES + 1, true, 'own'],
  ] as const)(
    '%s, %i bytes, others served: %s is %s before it is loaded',
    (isolate, sizeBytes, othersAreServed, kind) => {
      expect(decideBeforeLoad(isolate, { sizeBytes, othersAreServed }).kind).toBe(kind)
    },
  )

  it.each([
    [null, 'here', 'not measured'],
    [HEAVY_RUN_MS, 'here', 'takes 15.0 ms'],
    [HEAVY_RUN_MS + 0.1, 'own', 'takes 15.1 ms, more than 15'],
  ])('is by a run of %s ms: %s, and says why', (oneRowMs, kind, why) => {
    expect(decideByRun(oneRowMs)).toEqual({ kind, why: expect.stringContaining(why) })
  })
})
