import type { CronTrigger } from '../../config/project.ts'
import { lastUntil, nextAfter, parseCron, type Cron } from '../../kernel/cron.ts'

/** What is remembered of a cron trigger: every scheduled time up to `untilMs` has been decided. Calendar. */
export interface CronState {
  cron: string
  timeZone: string
  untilMs: number
}

export interface CronQuestion {
  trigger: CronTrigger
  /** null at the first look ever. */
  state: CronState | null
  resumed: { calendarMs: number; catchUp: boolean } | null
  /** Calendar time of this process's last look, where that was a moment ago in real time; else null. */
  watchedSinceMs: number | null
  /** A run of the model that is open. */
  openRun: string | null
}

/** Times that were not fired, and why. */
export interface Skipped {
  count: number
  /** There were more before; they are not counted. */
  andMore: boolean
  firstMs: number
  lastMs: number
  why: string
}

export type CronDecision =
  | { kind: 'begin'; state: CronState; dueMs: number; why: string } // nothing before now is due
  | { kind: 'wait'; state: 'watching' | 'waiting'; why: string; dueMs: number }
  /** `fireMs` is the scheduled time, null where all are skipped; `isMore`: look again at once. */
  | {
      kind: 'act'
      fireMs: number | null
      isLate: boolean
      skipped: Skipped[]
      state: CronState
      dueMs: number
      isMore: boolean
    }

/** So many missed times are caught up with; what lies before them is skipped. */
export const CATCH_UP_MAX = 100

/** A time that is seen this late counts as missed, where nobody was watching when it came. */
export const GRACE_MS = 60_000

/** Which scheduled times fire now, and which never will. Pure. */
export function decideCron(question: CronQuestion, nowMs: number): CronDecision {
  const { trigger, state } = question
  const cron = parseCron(trigger.cron)
  if (state === null || state.cron !== trigger.cron || state.timeZone !== trigger.timeZone)
    return begin(trigger, cron, Math.max(nowMs, state?.untilMs ?? nowMs), state === null)
  const dueMs = nextAfter(cron, trigger.timeZone, state.untilMs)
  if (dueMs > nowMs) return { kind: 'wait', state: 'watching', why: whyWaits(state, nowMs), dueMs }
  return decideDue(question, cron, state, nowMs)
}

function begin(trigger: CronTrigger, cron: Cron, untilMs: number, isNew: boolean): CronDecision {
  const state = { cron: trigger.cron, timeZone: trigger.timeZone, untilMs }
  const why = isNew ? 'counts from now on' : 'the schedule was changed: it counts from now on'
  return { kind: 'begin', state, dueMs: nextAfter(cron, trigger.timeZone, untilMs), why }
}

function whyWaits(state: CronState, nowMs: number): string {
  if (state.untilMs - nowMs <= GRACE_MS) return 'not yet time'
  return `the calendar went back: times up to ${iso(state.untilMs)} have been already`
}

function decideDue(question: CronQuestion, cron: Cron, state: CronState, nowMs: number): CronDecision {
  const { trigger, openRun, resumed } = question
  const { times, hasOlder } = pendingTimes(cron, trigger.timeZone, state.untilMs, nowMs)
  const newest = times.at(-1)!
  const isLate = !isOnTime(question, newest, nowMs)
  const catchUp = resumed?.catchUp === true && trigger.catchUp === 'none' ? 'last' : trigger.catchUp
  const after = (untilMs: number) => ({
    state: { ...state, untilMs },
    dueMs: nextAfter(cron, trigger.timeZone, untilMs),
  })

  if (catchUp === 'all') {
    const [first] = times
    if (openRun !== null && !trigger.overlap) {
      const why = `${times.length} scheduled ${count(times.length)} for the end of ${openRun}`
      return { kind: 'wait', state: 'waiting', why, dueMs: first! }
    }
    const older = hasOlder ? [olderThan(first!, state.untilMs)] : []
    const isMore = times.length > 1
    return { kind: 'act', fireMs: first!, isLate: isMore || isLate, skipped: older, ...after(first!), isMore }
  }

  const isWanted = catchUp === 'last' || !isLate
  const overlaps = isWanted && openRun !== null && !trigger.overlap
  const missed = isWanted ? times.slice(0, -1) : times
  const skipped = missed.length === 0 ? [] : [skip(missed, hasOlder, whyMissed(catchUp, resumed))]
  if (overlaps) skipped.push(skip([newest], false, `${openRun} of the model was still open, and overlap is false`))
  const fireMs = isWanted && !overlaps ? newest : null
  return { kind: 'act', fireMs, isLate, skipped, ...after(newest), isMore: false }
}

/** The newest times after `fromMs` up to now, ascending, at most `CATCH_UP_MAX`. */
function pendingTimes(cron: Cron, timeZone: string, fromMs: number, nowMs: number) {
  const times: number[] = []
  let at = lastUntil(cron, timeZone, nowMs)
  while (at > fromMs && times.length < CATCH_UP_MAX) {
    times.unshift(at)
    at = lastUntil(cron, timeZone, at - 1)
  }
  return { times, hasOlder: at > fromMs }
}

/** Somebody watched when it came, or it came a moment ago; and the trigger was not paused then. */
function isOnTime({ resumed, watchedSinceMs }: CronQuestion, ms: number, nowMs: number): boolean {
  if (resumed !== null && ms <= resumed.calendarMs) return false
  return (watchedSinceMs !== null && watchedSinceMs < ms) || nowMs - ms <= GRACE_MS
}

function skip(times: number[], andMore: boolean, why: string): Skipped {
  return { count: times.length, andMore, firstMs: times[0]!, lastMs: times.at(-1)!, why }
}

function olderThan(firstMs: number, untilMs: number): Skipped {
  const why = `at most ${CATCH_UP_MAX} missed times are caught up with`
  return { count: 0, andMore: true, firstMs: untilMs, lastMs: firstMs, why }
}

function whyMissed(catchUp: 'none' | 'last', resumed: CronQuestion['resumed']): string {
  const when = resumed === null ? 'it passed while runs could not be started' : 'it passed while the trigger was paused'
  return catchUp === 'none' ? `${when}, and catchUp is 'none'` : `a later time fires, and catchUp is 'last'`
}

/** For people: how many times, from when to when, and why not. */
export function skippedText({ count: n, andMore, firstMs, lastMs, why }: Skipped): string {
  if (n === 0) return `times before ${iso(lastMs)}: ${why}`
  const range = n === 1 && !andMore ? iso(firstMs) : `${n}${andMore ? ' and more' : ''} up to ${iso(lastMs)}`
  return `${range}: ${why}`
}

const count = (n: number) => (n === 1 ? 'time waits' : 'times wait')

export const iso = (ms: number): string => new Date(ms).toISOString().replace('.000Z', 'Z')
