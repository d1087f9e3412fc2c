import { expect, it } from 'vitest'
import { StatusWaits } from './status-waits.ts'

it('counts from when a release was first seen in its status, by the monotonic clock alone', () => {
  let nowMs = 5_000
  const waits = new StatusWaits({ monotonicMs: () => nowMs })
  const seen = (status: 'deploying' | 'preflight', id = 'release-1') => waits.waitedMs({ id, status })
  expect(seen('deploying')).toBe(0)
  nowMs += 700
  expect(seen('deploying')).toBe(700)
  expect(seen('deploying', 'release-2')).toBe(0)
  expect(seen('preflight')).toBe(0)
  nowMs += 300
  expect([seen('preflight'), seen('deploying', 'release-2')]).toEqual([300, 300])
  waits.keepOnly(['release-2'])
  expect([seen('preflight'), seen('deploying', 'release-2')]).toEqual([0, 300])
})
