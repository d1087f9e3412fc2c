import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { liveAt, type AliasSpan } from './version-store.ts'
import { mayBeReleased, parseVersionRef } from './version.ts'
import { versionOf } from '../../testing/control-builders.ts'

const history = [span('m@1', 100), span('m@9', 150, 'previous'), span('m@2', 200), span(null, 300), span('m@1', 400)]

describe('which version was live', () => {
  it.each([
    [99, null, null, 100],
    [100, 'm@1', 100, 200],
    [199, 'm@1', 100, 200],
    [200, 'm@2', 200, 300],
    [350, null, 300, 400],
    [9_999, 'm@1', 400, null],
  ])('at %d: %s, from %s until %s', (atMs, versionId, fromMs, untilMs) => {
    expect(liveAt(history, atMs)).toMatchObject({ versionId, fromMs, untilMs })
  })

  it('is unknown without a history', () => {
    expect(liveAt([], 5)).toEqual({ versionId: null, fromMs: null, untilMs: null, why: null })
  })

  it('is the last one set at or before the time, and its span holds the time', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(1_000)), fc.nat(1_000), (times, atMs) => {
        const spans = times.toSorted((a, b) => a - b).map((ms, i) => span(`m@${i}`, ms))
        const live = liveAt(spans, atMs)
        expect(live.versionId).toBe(spans.findLast((s) => s.fromCalendarMs <= atMs)?.versionId ?? null)
        expect(live.fromMs ?? atMs).toBeLessThanOrEqual(atMs)
        expect(live.untilMs ?? atMs + 1).toBeGreaterThan(atMs)
      }),
    )
  })
})

describe('a reference to a version', () => {
  it.each([
    ['late-flight@7', { model: 'late-flight', number: 7, alias: null }],
    ['late-flight@champion', { model: 'late-flight', number: null, alias: 'champion' }],
    ['late-flight', null],
    ['@7', null],
    ['late-flight@', null],
    ['a@b@c', null],
    ['../x@7', null],
    ['a b@7', null],
    ["m@1'; drop table version", null],
  ])('%s reads as %j', (ref, parsed) => {
    expect(parseVersionRef(ref)).toEqual(parsed)
  })
})

describe('whether a version may take traffic', () => {
  const approval = (decision: 'approved' | 'rejected') => ({ decision, by: 'ann', why: 'so', atMs: 1 })
  it.each([
    ['passed', null, true],
    ['failed', null, false],
    ['candidate', null, false],
    ['failed', approval('approved'), true],
    ['passed', approval('rejected'), false],
  ] as const)('%s with %j: %s', (status, said, may) => {
    expect(mayBeReleased(versionOf({ status, approval: said }))).toBe(may)
  })
})

function span(versionId: string | null, fromMs: number, alias = 'champion'): AliasSpan {
  return { alias, versionId, cause: 'test', fromMs, fromCalendarMs: fromMs }
}
