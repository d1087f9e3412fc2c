import { describe, expect, it } from 'vitest'
import { decideEjection, ejectionLimits, newRecord } from './decide-ejection.ts'
import type { ReplicaRecord, Siblings } from './decide-ejection.ts'

const failed = { kind: 'failure', why: 'it answers 500' } as const
const hangs = { kind: 'hang', why: 'it was silent' } as const
const four: Siblings = { listed: 4, ejected: 0, doingWell: 3 }
const record = (fields: Partial<ReplicaRecord> = {}): ReplicaRecord => ({ ...newRecord(), ...fields })
const decide = (
  of: ReplicaRecord,
  siblings: Siblings = four,
  cause: typeof failed | typeof hangs = failed,
  nowMs = 0,
) => decideEjection(of, cause, siblings, ejectionLimits, nowMs)

describe('a replica', () => {
  it('goes after five failures in a row, and not after four', () => {
    expect(decide(record({ failures: 4 }))).toEqual({ kind: 'stay', why: '4 of 5 failures in a row' })
    const decision = { kind: 'eject', forMs: 5_000, timesEjected: 1, why: '5 failures in a row, it answers 500' }
    expect(decide(record({ failures: 5 }))).toEqual(decision)
  })

  it('goes at once when it hangs, and at its first failure after it came back', () => {
    expect(decide(record(), four, hangs)).toMatchObject({ kind: 'eject', why: 'it was silent' })
    expect(decide(record({ failures: 1, isOnTrial: true }))).toMatchObject({ kind: 'eject', why: 'it answers 500' })
  })

  it('stays while no other does better: then it is no outlier', () => {
    const alone = { kind: 'stay', why: 'no other replica does better' }
    expect(decide(record({ failures: 99 }), { listed: 4, ejected: 0, doingWell: 0 })).toEqual(alone)
    expect(decide(record(), { listed: 4, ejected: 0, doingWell: 0 }, hangs)).toEqual(alone)
  })

  it('goes for longer each time, up to a limit, and is forgiven once for every good minute', () => {
    const again = (timesEjected: number, nowMs = 0) =>
      decide(record({ failures: 5, timesEjected }), four, failed, nowMs)
    expect(again(1)).toMatchObject({ forMs: 10_000, timesEjected: 2 })
    expect(again(2)).toMatchObject({ forMs: 15_000, timesEjected: 3 })
    expect(again(1_000)).toMatchObject({ forMs: 120_000 })
    expect(again(2, 59_999)).toMatchObject({ timesEjected: 3 })
    expect(again(2, 60_000)).toMatchObject({ timesEjected: 2 })
    expect(again(2, 600_000)).toMatchObject({ forMs: 5_000, timesEjected: 1 })
  })
})

describe('the share that may be ejected', () => {
  it.each([
    [1, 0],
    [2, 1],
    [3, 1],
    [4, 2],
    [5, 2],
    [10, 5],
  ])('of %d replicas is %d', (listed, most) => {
    const kinds = Array.from({ length: listed }, (_, ejected) => {
      const decision = decide(record({ failures: 5 }), { listed, ejected, doingWell: 1 })
      return decision.kind
    })
    expect(kinds.filter((kind) => kind === 'eject')).toHaveLength(most)
  })

  it('leaves one in use whatever the share says', () => {
    const all = { ...ejectionLimits, maxSharePercent: 100 }
    const siblings = { listed: 3, ejected: 2, doingWell: 1 }
    const decision = decideEjection(record({ failures: 5 }), failed, siblings, all, 0)
    expect(decision).toEqual({ kind: 'stay', why: '2 of 3 are ejected, and 2 may be' })
  })
})
