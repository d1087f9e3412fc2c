import type { ReleaseConfig } from '../../config/project.ts'
import type { Version } from '../registry/version.ts'
import { frozenBy, type Freeze } from './freeze.ts'

/** What is to become of a version once its verdict or a person's word is there. */
export type ReleaseDecision =
  | { kind: 'wait' } // the proof is still under way
  | { kind: 'release'; why: string }
  | { kind: 'keep'; why: string } // it is live already
  | { kind: 'spare'; why: string }
  | { kind: 'awaitApproval'; why: string }
  | { kind: 'refuse'; why: string }

export interface ReleaseQuestion {
  version: Version
  /** The verdict's reason and whether the version was proven better than the champion; null before a verdict. */
  gate: { why: string; provenBetter: boolean } | null
  /** The champion that the verdict compared it with; null: none, or no verdict. */
  comparedWith: string | null
  /** Fields without which Millrace can't prove anything: `['holdout']`. */
  missing: string[]
  champion: { id: string; liveSinceCalendarMs: number } | null
  when: ReleaseConfig['when']
  /** Active on the model: nothing is released by itself, a person's approval counts all the same. */
  freezes: Pick<Freeze, 'id' | 'why' | 'unfreezes'>[]
  /** The freeze, over by itself since, after the rollback of what the version is the same as; null: there is none. */
  sameAsLost: Pick<Freeze, 'id' | 'why'> | null
}

export function decideRelease(question: ReleaseQuestion, calendarMs: number): ReleaseDecision {
  const { version, gate } = question
  if (version.approval?.decision === 'rejected')
    return { kind: 'refuse', why: `rejected by ${version.approval.by}: ${version.approval.why}` }
  if (version.status === 'evaluating') return { kind: 'wait' }
  if (version.status === 'candidate' && question.missing.length === 0) return { kind: 'wait' }
  if (version.signature === null && version.status === 'candidate') return { kind: 'wait' }
  if (version.approval?.decision === 'approved' && question.champion?.id === version.id)
    return { kind: 'keep', why: `live, and approved by ${version.approval.by}: ${version.approval.why}` }
  if (version.approval?.decision === 'approved')
    return { kind: 'release', why: `approved by ${version.approval.by}: ${version.approval.why}` }
  const mayServe = version.status === 'candidate' || version.status === 'passed'
  if (version.lineage.backfilled === true && mayServe)
    return { kind: 'spare', why: 'made by a backfill: evaluated, and never released unless a person approves it' }
  switch (version.status) {
    case 'candidate':
      return {
        kind: 'awaitApproval',
        why: `not evaluated: ${question.missing.join(', ')} ${question.missing.length === 1 ? 'is' : 'are'} not declared`,
      }
    case 'failed':
    case 'inconclusive':
    case 'error':
      return { kind: 'refuse', why: `gate ${version.status}: ${gate?.why ?? version.why ?? 'no reason recorded'}` }
    case 'passed':
      return unlessFrozen(decidePassed(question, calendarMs), question)
  }
}

/** What was held back waits on: the proof stands, but only for the champion that it was made against. */
function unlessFrozen(decision: ReleaseDecision, question: ReleaseQuestion): ReleaseDecision {
  if (decision.kind !== 'release') return decision
  const { freezes, sameAsLost, champion, comparedWith, version } = question
  const because = decision.why.replace(/\.$/, '')
  if (freezes.length > 0) {
    return { kind: 'awaitApproval', why: `${because}; but ${frozenBy(freezes)}` }
  }
  if (sameAsLost !== null) {
    const same = `it comes from the same code and configuration as what was rolled back (${sameAsLost.id}: ${sameAsLost.why})`
    return { kind: 'awaitApproval', why: `${because}; but ${same}` }
  }
  const isHeldBack = version.disposition === 'awaiting-approval'
  if (isHeldBack && champion !== null && comparedWith !== champion.id) {
    const then = comparedWith ?? 'no champion'
    return { kind: 'awaitApproval', why: `it was measured against ${then}, and ${champion.id} is live since` }
  }
  return decision
}

function decidePassed(question: ReleaseQuestion, calendarMs: number): ReleaseDecision {
  const { champion, when, gate } = question
  const proven = gate?.provenBetter ?? false
  const reason = gate?.why ?? 'passed'
  if (when.kind === 'manual') return { kind: 'awaitApproval', why: `passed, and release.when is 'manual': ${reason}` }
  if (champion === null) return { kind: 'release', why: `the first version to pass: ${reason}` }
  if (proven) return { kind: 'release', why: `better than ${champion.id}: ${reason}` }
  switch (when.kind) {
    case 'always':
      return { kind: 'release', why: `passed, and release.when is 'always': ${reason}` }
    case 'better':
      return { kind: 'spare', why: `passed, but not proven better than ${champion.id}: ${reason}` }
    case 'staleAfter': {
      const ageMs = calendarMs - champion.liveSinceCalendarMs
      if (ageMs >= when.ageMs)
        return { kind: 'release', why: `passed, and ${champion.id} has been live for ${days(ageMs)}: ${reason}` }
      return {
        kind: 'spare',
        why: `passed, not proven better than ${champion.id}, which is live for ${days(ageMs)} of ${days(when.ageMs)}: ${reason}`,
      }
    }
  }
}

const days = (ms: number) => `${(ms / 86_400_000).toFixed(1)} days`
