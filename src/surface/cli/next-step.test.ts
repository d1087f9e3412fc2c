import { describe, expect, it } from 'vitest'
import type { VersionView } from '../api/version-schemas.ts'
import { nextFor, verdictOn } from './next-step.ts'

describe('what a person may do about a version', () => {
  it.each(['refused', 'failed', 'inconclusive', 'error'])('that is %s: look why, or let it through', (verdict) => {
    expect(nextFor('late-flight@2', verdict)).toEqual([
      '  millrace gate show late-flight@2',
      expect.stringMatching(/^ {2}millrace approve late-flight@2 --why "…"/),
    ])
  })

  it('that waits for approval, or is spare, is one command', () => {
    expect(nextFor('late-flight@2', 'awaiting-approval')).toEqual(['  millrace approve late-flight@2 --why "…"'])
    expect(nextFor('late-flight@2', 'spare')).toEqual([expect.stringMatching(/^ {2}millrace release late-flight@2 /)])
  })

  it('that is released is nothing', () => {
    expect(nextFor('late-flight@2', 'released')).toEqual([])
  })
})

describe('what it goes by', () => {
  const gate = (verdict: string, approval: object | null = null) => ({ verdict, approval }) as VersionView['gate']

  it('is the place of the version, and else the verdict of the gate', () => {
    expect(verdictOn({ release: 'spare', gate: gate('passed') })).toBe('spare')
    expect(verdictOn({ release: 'none', gate: gate('inconclusive') })).toBe('inconclusive')
  })

  it('is nothing where a person has decided, or nobody yet', () => {
    const approval = { decision: 'rejected', by: 'ann', why: 'wrong year', atMs: 0 }
    expect(verdictOn({ release: 'none', gate: gate('failed', approval) })).toBe('')
    expect(verdictOn({ release: 'none', gate: null })).toBe('')
  })
})
