import { stateMachine } from '../../kernel/state-machine.ts'

export type RetirementStatus =
  | 'kept' // may be used for anything; a version without a row is kept
  | 'proposed' // a policy or a person wants it gone; still as good as kept
  | 'draining' // no use may begin any more but by reviving it; what runs of it comes to its end
  | 'stopped' // nothing of it runs, and no gateway has a request on it
  | 'cold' // its files are kept: revived in one command, until its retention is over
  | 'deleting' // its files are being removed: there is no way back
  | 'deleted' // only its lineage, figures and verdicts are left

export type RetirementEvent = 'propose' | 'keep' | 'drain' | 'stop' | 'cool' | 'revive' | 'delete' | 'remove'

/** Every event but `propose`, `keep` and `revive` asks the in-use guard again, in its own transaction. */
export const retirementMachine = stateMachine<RetirementStatus, RetirementEvent>('retirement', {
  kept: { propose: 'proposed' },
  proposed: { keep: 'kept', drain: 'draining' },
  draining: { stop: 'stopped', revive: 'kept' },
  stopped: { cool: 'cold', revive: 'kept' },
  cold: { delete: 'deleting', revive: 'kept' },
  deleting: { remove: 'deleted' },
  deleted: {},
})

/** Who wanted the last step: a policy, a person, or the in-use guard that took it back. */
export type RetirementPolicy = 'age' | 'superseded' | 'idle' | 'outdated' | 'person' | 'use'

export interface Retirement {
  versionId: string
  model: string
  status: RetirementStatus
  policy: RetirementPolicy
  why: string
  /** What held it when it was last looked at, for people. */
  heldBy: string[]
  proposedAtMs: number
  statusAtMs: number
  statusCalendarMs: number
  by: string
  /** `kept` by a person: calendar time until when; null with policy `person`: for good. */
  keptUntilCalendarMs: number | null
}

/** A person's protection: every policy leaves it alone, and nothing takes the protection off but its end or a person. */
export function isProtected(retirement: Retirement | null, calendarMs: number): boolean {
  if (retirement?.status !== 'kept' || retirement.policy !== 'person') return false
  return retirement.keptUntilCalendarMs === null || calendarMs < retirement.keptUntilCalendarMs
}

/** A version that may be read: evaluated, released, revived. */
export const isWhole = (status: RetirementStatus): boolean => status !== 'deleting' && status !== 'deleted'

/** What the beginning of a use asks of a version, by its status. Pure. */
export function decideUse(status: RetirementStatus): 'use' | 'keep' | 'revive' | 'refuse' {
  switch (status) {
    case 'kept':
      return 'use'
    case 'proposed':
      return 'keep'
    case 'draining':
    case 'stopped':
    case 'cold':
      return 'revive'
    case 'deleting':
    case 'deleted':
      return 'refuse'
  }
}
