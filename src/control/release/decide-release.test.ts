import { describe, expect, it } from 'vitest'
import type { ReleaseConfig } from '../../config/project.ts'
import { versionOf } from '../../testing/control-builders.ts'
import type { Approval, VersionStatus } from '../registry/version.ts'
import { decideRelease, type ReleaseQuestion } from './decide-release.ts'

const DAY_MS = 86_400_000
const approval = (decision: Approval['decision']): Approval => ({ decision, by: 'ann', why: 'looked at it', atMs: 1 })

describe('a version that was not evaluated', () => {
  it.each<VersionStatus>(['candidate', 'evaluating'])('waits for its proof while it is %s', (status) => {
    expect(decide({ version: versionOf({ status }) })).toEqual({ kind: 'wait' })
  })

  it('waits for a person where there is nothing to evaluate it by, and says what is missing', () => {
    expect(decide({ version: versionOf({ status: 'candidate' }), missing: ['holdout', 'label'] })).toEqual({
      kind: 'awaitApproval',
      why: 'not evaluated: holdout, label are not declared',
    })
  })

  it('is not offered to a person before it has been opened', () => {
    const version = versionOf({ status: 'candidate', signature: null, approval: approval('approved') })
    expect(decide({ version, missing: ['holdout'] })).toEqual({ kind: 'wait' })
  })

  it('is released once a person has approved it', () => {
    const version = versionOf({ status: 'candidate', approval: approval('approved') })
    expect(decide({ version, missing: ['label'] })).toEqual({ kind: 'release', why: 'approved by ann: looked at it' })
  })

  it('is evaluated before it is released, even when it was approved', () => {
    expect(decide({ version: versionOf({ status: 'candidate', approval: approval('approved') }) })).toEqual({
      kind: 'wait',
    })
  })
})

describe('a person’s word', () => {
  it.each<VersionStatus>(['candidate', 'evaluating', 'passed', 'failed', 'inconclusive', 'error'])(
    'against it ends the question when it is %s',
    (status) => {
      expect(decide({ version: versionOf({ status, approval: approval('rejected') }) })).toEqual({
        kind: 'refuse',
        why: 'rejected by ann: looked at it',
      })
    },
  )

  it.each<VersionStatus>(['failed', 'inconclusive', 'error', 'passed'])(
    'for it counts over the verdict %s',
    (status) => {
      expect(decide({ version: versionOf({ status, approval: approval('approved') }) }).kind).toBe('release')
    },
  )

  it('for the champion changes nothing', () => {
    const version = versionOf({ id: 'm@7', approval: approval('approved') })
    expect(decide({ version, champion: { id: 'm@7', liveSinceCalendarMs: 0 } }).kind).toBe('keep')
  })
})

describe('a version made by a backfill', () => {
  const backfilled = (status: VersionStatus, approved = false) => {
    const version = versionOf({ status, ...(approved ? { approval: approval('approved') } : {}) })
    return { ...version, lineage: { ...version.lineage, backfilled: true } }
  }
  const why = 'made by a backfill: evaluated, and never released unless a person approves it'

  it.each<ReleaseConfig['when']>([{ kind: 'always' }, { kind: 'better' }, { kind: 'manual' }])(
    'is a spare, whatever was proven, with release.when %j',
    (when) => {
      const gate = { why: 'better', provenBetter: true }
      expect(decide({ version: backfilled('passed'), gate, when })).toEqual({ kind: 'spare', why })
      expect(decide({ version: backfilled('candidate'), missing: ['holdout'], when })).toEqual({ kind: 'spare', why })
    },
  )

  it('is refused where it did not pass, and released where a person approves it', () => {
    expect(decide({ version: backfilled('failed') }).kind).toBe('refuse')
    expect(decide({ version: backfilled('passed', true) }).kind).toBe('release')
  })
})

describe('a verdict', () => {
  it.each<VersionStatus>(['failed', 'inconclusive', 'error'])(
    '%s keeps it from release, with the reason of the gate',
    (status) => {
      const gate = { why: 'AUC 0.61 < 0.7', provenBetter: false }
      expect(decide({ version: versionOf({ status }), gate })).toEqual({
        kind: 'refuse',
        why: `gate ${status}: AUC 0.61 < 0.7`,
      })
    },
  )

  const champion = { id: 'm@1', liveSinceCalendarMs: 0 }
  it.each<[ReleaseConfig['when'], boolean, boolean, string]>([
    // when, is there a champion, proven better → decision
    [{ kind: 'better' }, false, false, 'release'],
    [{ kind: 'better' }, true, true, 'release'],
    [{ kind: 'better' }, true, false, 'spare'],
    [{ kind: 'always' }, true, false, 'release'],
    [{ kind: 'manual' }, false, false, 'awaitApproval'],
    [{ kind: 'manual' }, true, true, 'awaitApproval'],
    [{ kind: 'staleAfter', ageMs: 7 * DAY_MS }, false, false, 'release'],
    [{ kind: 'staleAfter', ageMs: 7 * DAY_MS }, true, true, 'release'],
    [{ kind: 'staleAfter', ageMs: 7 * DAY_MS }, true, false, 'release'],
    [{ kind: 'staleAfter', ageMs: 8 * DAY_MS }, true, false, 'spare'],
  ])('passed under %j (champion: %s, proven better: %s) means %s', (when, hasChampion, provenBetter, kind) => {
    const question = { when, champion: hasChampion ? champion : null, gate: { why: 'passed', provenBetter } }
    expect(decide(question, 7 * DAY_MS).kind).toBe(kind)
  })

  it('says by how much the champion is not stale yet', () => {
    const question = { when: { kind: 'staleAfter', ageMs: 7 * DAY_MS } as const, champion }
    expect(decide(question, 1.5 * DAY_MS)).toMatchObject({
      why: expect.stringContaining('live for 1.5 days of 7.0 days') as string,
    })
  })
})

describe('a freeze', () => {
  const freezes = [{ id: 'freeze-1', why: 'release-4 went back from m@3 to m@1', unfreezes: "'millrace unfreeze m'" }]
  const gate = { why: 'log loss −0.02', provenBetter: true }
  const champion = { id: 'm@1', liveSinceCalendarMs: 0 }

  it('makes what would be released wait for a person, and says why and what ends it', () => {
    expect(decide({ freezes, gate, champion })).toEqual({
      kind: 'awaitApproval',
      why: "better than m@1: log loss −0.02; but automatic release is frozen (freeze-1: release-4 went back from m@3 to m@1; ends by 'millrace unfreeze m')",
    })
  })

  it('does not stand above a person’s approval', () => {
    expect(decide({ freezes, version: versionOf({ approval: approval('approved') }) }).kind).toBe('release')
  })

  it('changes nothing for what would not be released', () => {
    expect(decide({ freezes, champion }).kind).toBe('spare')
    expect(decide({ freezes, version: versionOf({ status: 'failed' }) }).kind).toBe('refuse')
  })

  const waiting = versionOf({ id: 'm@2', number: 2, disposition: 'awaiting-approval' })
  it('that has ended lets go what waited, as long as the champion is the one it was measured against', () => {
    expect(decide({ version: waiting, gate, champion, comparedWith: 'm@1' }).kind).toBe('release')
    expect(decide({ version: waiting, gate, champion, comparedWith: 'm@0' })).toEqual({
      kind: 'awaitApproval',
      why: 'it was measured against m@0, and m@1 is live since',
    })
  })

  it('that has ended by itself does not let go what is the same as what was rolled back', () => {
    const sameAsLost = { id: 'freeze-1', why: 'release-4 went back from m@3 to m@1' }
    const question = { version: waiting, gate, champion, comparedWith: 'm@1', sameAsLost }
    expect(decide(question)).toEqual({
      kind: 'awaitApproval',
      why: 'better than m@1: log loss −0.02; but it comes from the same code and configuration as what was rolled back (freeze-1: release-4 went back from m@3 to m@1)',
    })
    const approved = versionOf({ ...waiting, approval: approval('approved') })
    expect(decide({ ...question, version: approved }).kind).toBe('release')
  })
})

function decide(overrides: Partial<ReleaseQuestion>, calendarMs = 0) {
  const question: ReleaseQuestion = {
    version: versionOf({ id: 'm@2', number: 2 }),
    gate: { why: 'passed', provenBetter: false },
    missing: [],
    comparedWith: null,
    champion: null,
    when: { kind: 'better' },
    freezes: [],
    sameAsLost: null,
    ...overrides,
  }
  return decideRelease(question, calendarMs)
}
