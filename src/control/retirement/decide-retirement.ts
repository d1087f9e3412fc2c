import type { RetirementConfig } from '../../config/project.ts'
import { isProtected, type Retirement, type RetirementPolicy, type RetirementStatus } from './retirement.ts'

/** One version as the policies see it. Gathered by retirement-facts.ts. */
export interface RetirementView {
  versionId: string
  number: number
  retirement: Retirement | null
  heldBy: string[]
  createdCalendarMs: number
  /** Whether its question is still open: it waits for its evaluation or its verdict. */
  undecided: boolean
  /** It passed or was approved, or it has been champion: worth going back to. */
  usable: boolean
  /** Champion or previous. */
  inService: boolean
  everChampion: boolean
  /** Last time it was called; its creation or its last day as champion where that was later. */
  lastUsedCalendarMs: number
  longestGapMs: number
  /** A newer released version that was measured no worse, and how; null: none. */
  noWorse: { versionId: string; why: string } | null
  /** Two consecutive windows below the floor; null: not so. */
  outdated: string | null
  /** Deployments or replicas of it that have not ended, or requests on them. */
  running: string[]
  /** Why its files can't be removed just now. */
  read: string | null
}

export interface RetirementQuestion {
  versions: RetirementView[]
  champion: { versionId: string; number: number } | null
  config: RetirementConfig
  calendarMs: number
  /** Every version failed together, so the data is suspected: nothing is retired. Null: not so. */
  frozen: string | null
}

export type RetirementAct =
  | { kind: 'propose'; policy: RetirementPolicy; why: string }
  | { kind: 'keep'; policy: RetirementPolicy; why: string } // proposed, and no longer wanted gone
  | { kind: 'note' } // what holds it is not what was written
  | { kind: 'drain'; policy: RetirementPolicy; why: string }
  | { kind: 'stop'; policy: RetirementPolicy; why: string }
  | { kind: 'cool'; policy: RetirementPolicy; why: string }
  | { kind: 'revive'; policy: RetirementPolicy; why: string } // a use that asked nobody, like a fallback declared now
  | { kind: 'delete'; policy: RetirementPolicy; why: string }

/**
 * Whether an act that was decided by an earlier look may be done, by what is true now that the version is locked:
 * whoever has begun a use since then wins. Pure.
 * @param seen - the status that it was decided by
 */
export function mayAct(
  act: RetirementAct,
  seen: RetirementStatus,
  now: { status: RetirementStatus; heldBy: string[]; isRunning: boolean; isProtected: boolean },
): boolean {
  if (now.status !== seen) return false
  switch (act.kind) {
    case 'propose':
      // Outdated ones are proposed also while in use, so that people know.
      return now.heldBy.length === 0 || (act.policy === 'outdated' && !now.isProtected)
    case 'keep':
    case 'note':
      return true
    case 'revive':
      return now.heldBy.length > 0
    case 'drain':
    case 'cool':
    case 'delete':
      return now.heldBy.length === 0
    case 'stop':
      return now.heldBy.length === 0 && !now.isRunning
  }
}

/** What every version of one model waits for, for `--explain`. */
export type RetirementOutlook = { view: RetirementView; act: RetirementAct | null; why: string }

/** A version that was revived is not proposed again for so long (calendar). */
export const REVIVED_GRACE_MS = 24 * 3_600_000

/**
 * What becomes of each version of a model now. Pure.
 * Policies propose; what is held waits; age alone is carried out only once something newer was measured no worse.
 */
export function decideRetirement(question: RetirementQuestion): RetirementOutlook[] {
  const protectedBy = keptNewest(question)
  return question.versions.map((view) => {
    const decided = decideOne(view, question, protectedBy)
    return 'kind' in decided
      ? { view, act: decided, why: 'why' in decided ? decided.why : holding(view) }
      : { view, act: null, why: decided.idle }
  })
}

type Idle = { idle: string }

function decideOne(view: RetirementView, question: RetirementQuestion, kept: Set<string>): RetirementAct | Idle {
  const status: RetirementStatus = view.retirement?.status ?? 'kept'
  switch (status) {
    case 'kept':
      return decideKept(view, question, kept)
    case 'proposed':
      return decideProposed(view, question, kept)
    case 'draining':
      return goingOn(view, () =>
        view.running.length > 0
          ? { idle: `waits for ${view.running.join(', ')}` }
          : { kind: 'stop', policy: view.retirement!.policy, why: 'nothing of it runs' },
      )
    case 'stopped':
      return goingOn(view, () => ({ kind: 'cool', policy: view.retirement!.policy, why: 'out of service' }))
    case 'cold':
      return goingOn(view, () => decideCold(view, question))
    case 'deleting':
      return { idle: view.read === null ? 'its files are being removed' : `its files are removed once ${view.read}` }
    case 'deleted':
      return { idle: 'its files are gone; lineage and figures stay' }
  }
}

/** Not put out of service while in use; where somebody has begun a use without asking, it comes back. */
function goingOn(view: RetirementView, next: () => RetirementAct | Idle): RetirementAct | Idle {
  if (view.heldBy.length === 0) return next()
  return { kind: 'revive', policy: 'use', why: `in use: ${holding(view)}` }
}

function decideKept(view: RetirementView, question: RetirementQuestion, kept: Set<string>): RetirementAct | Idle {
  const wish = wishOf(view, question, kept)
  if (wish === null || isProtected(view.retirement, question.calendarMs)) return { idle: whyKept(view, kept) }
  if (question.frozen !== null) return { idle: `${wish.policy}: ${wish.why}; but ${question.frozen}` }
  // What is held is proposed all the same where it was outdated: people should know.
  if (view.heldBy.length > 0 && wish.policy !== 'outdated') return { idle: `in use: ${holding(view)}` }
  return { kind: 'propose', ...wish }
}

function decideProposed(view: RetirementView, question: RetirementQuestion, kept: Set<string>): RetirementAct | Idle {
  const { retirement, heldBy } = view
  const wish = retirement!.policy === 'person' ? personsWish(retirement!) : wishOf(view, question, kept)
  if (wish === null) return { kind: 'keep', policy: retirement!.policy, why: `no longer so: ${whyKept(view, kept)}` }
  if (heldBy.length > 0) {
    if (JSON.stringify(heldBy) !== JSON.stringify(retirement!.heldBy)) return { kind: 'note' }
    return { idle: `in use: ${holding(view)}` }
  }
  if (question.frozen !== null) return { idle: question.frozen }
  if (wish.policy === 'age' && view.noWorse === null)
    return { idle: `${wish.why}; age alone proposes: it goes once a newer released version was measured no worse` }
  const proof = wish.policy === 'age' ? `; ${view.noWorse!.versionId} is no worse: ${view.noWorse!.why}` : ''
  return { kind: 'drain', policy: wish.policy, why: `${wish.why}${proof}` }
}

function decideCold(view: RetirementView, { config, calendarMs, frozen }: RetirementQuestion): RetirementAct | Idle {
  const dueMs = view.retirement!.statusCalendarMs + config.deleteAfterMs
  if (calendarMs < dueMs) return { idle: `its files are deleted at ${isoDay(dueMs)}` }
  if (frozen !== null) return { idle: frozen }
  if (view.read !== null) return { idle: `its files are deleted once ${view.read}` }
  return { kind: 'delete', policy: view.retirement!.policy, why: `cold for ${days(config.deleteAfterMs)}` }
}

interface Wish {
  policy: RetirementPolicy
  why: string
}

const personsWish = (retirement: Retirement): Wish => ({ policy: 'person', why: retirement.why })

/** What the policies want of a version; the strongest reason is said. */
function wishOf(view: RetirementView, question: RetirementQuestion, kept: Set<string>): Wish | null {
  const { config, champion, calendarMs } = question
  if (view.undecided || kept.has(view.versionId) || isFresh(view, calendarMs)) return null
  if (config.outdated !== null && view.outdated !== null) return { policy: 'outdated', why: view.outdated }
  // Without a champion nothing has taken its place.
  if (view.inService || champion === null || champion.versionId === view.versionId) return null
  if (config.superseded && (champion.number > view.number || view.everChampion))
    return { policy: 'superseded', why: `${champion.versionId} serves instead` }
  const idleMs = calendarMs - view.lastUsedCalendarMs
  if (config.idleMs !== null && idleMs > config.idleMs && idleMs > 2 * view.longestGapMs)
    return { policy: 'idle', why: `not called for ${days(idleMs)}, its longest gap was ${days(view.longestGapMs)}` }
  const ageMs = calendarMs - view.createdCalendarMs
  if (config.maxAgeMs !== null && ageMs > config.maxAgeMs)
    return { policy: 'age', why: `${days(ageMs)} old, at most ${days(config.maxAgeMs)} are wanted` }
  return null
}

/** Just revived: whoever did it gets time to use it. A calendar set backwards makes the grace longer, not endless. */
function isFresh({ retirement }: RetirementView, calendarMs: number): boolean {
  if (retirement?.status !== 'kept' || retirement.policy !== 'use') return false
  return calendarMs - retirement.statusCalendarMs < REVIVED_GRACE_MS
}

/** The newest that are out of service stay: so many that could serve again, and so many in all. */
function keptNewest({ versions, config }: RetirementQuestion): Set<string> {
  const gone: RetirementStatus[] = ['draining', 'stopped', 'cold', 'deleting', 'deleted']
  const out = versions
    .filter((v) => !v.inService && !v.undecided && !gone.includes(v.retirement?.status ?? 'kept'))
    .toSorted((a, b) => b.number - a.number)
  const newest = (of: RetirementView[]) => of.slice(0, config.keepLast).map((v) => v.versionId)
  return new Set([...newest(out), ...newest(out.filter((v) => v.usable))])
}

function whyKept(view: RetirementView, kept: Set<string>): string {
  if (view.undecided) return 'its release is not decided yet'
  if (view.heldBy.length > 0) return `in use: ${holding(view)}`
  if (kept.has(view.versionId)) return 'one of the newest that are kept'
  return 'no policy wants it gone'
}

const holding = (view: RetirementView) => view.heldBy.join('; ')

const isoDay = (ms: number) => new Date(ms).toISOString().slice(0, 10)

function days(ms: number): string {
  const hours = ms / 3_600_000
  return hours < 48 ? `${hours.toFixed(1)} hours` : `${(hours / 24).toFixed(1)} days`
}
