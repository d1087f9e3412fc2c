import type { AlarmTrigger } from '../../config/project.ts'
import { isMonitorSource, type Alert } from '../monitoring/alert.ts'
import { iso } from './decide-cron.ts'
import type { FiringRecord } from './trigger-store.ts'

/** What is remembered of an alarm trigger: every alarm up to this number has been decided. */
export interface AlarmState {
  alarmSeq: number
}

export interface AlarmQuestion {
  trigger: AlarmTrigger
  /** null at the first look ever. */
  state: AlarmState | null
  resumed: { calendarMs: number; catchUp: boolean } | null
  /** Of the model, after `state.alarmSeq`, in the order in which they fired. */
  alarms: Alert[]
  /** Number of the newest alarm of all. */
  lastSeq: number
  /** Its own, newest first, at least `perDay` of them where there are as many. */
  firings: PastFiring[]
  /** A run of the model that is open. */
  openRun: string | null
}

export interface PastFiring extends FiringRecord {
  /** Real time since then, as far as it is known. */
  agoMs: number
}

export type AlarmDecision =
  | { kind: 'begin'; state: AlarmState; why: string } // alarms before it was declared are not its business
  | { kind: 'wait'; state: 'watching' | 'waiting'; why: string; nextMs: number | null }
  | { kind: 'act'; fire: Alert[]; skipped: { alarms: Alert[]; why: string } | null; state: AlarmState }

const DAY_MS = 86_400_000

/** Whether alarms train the model again. Any number of them at once is one firing. Pure. */
export function decideAlarm(question: AlarmQuestion, calendarMs: number): AlarmDecision {
  const { trigger, state, resumed, openRun } = question
  if (state === null) return { kind: 'begin', state: { alarmSeq: question.lastSeq }, why: 'alarms count from now on' }
  const after = { alarmSeq: question.alarms.at(-1)?.alarmSeq ?? state.alarmSeq }
  const alarms = question.alarms.filter(({ source }) => listensTo(trigger, source))
  if (resumed !== null && !resumed.catchUp) {
    const paused = alarms.filter((alarm) => (alarm.firedCalendarMs ?? 0) <= resumed.calendarMs)
    if (paused.length > 0) {
      const seq = paused.at(-1)!.alarmSeq!
      const skipped = { alarms: paused, why: 'the trigger was paused' }
      return { kind: 'act', fire: [], skipped, state: { alarmSeq: seq } }
    }
  }
  if (alarms.length === 0) {
    if (after.alarmSeq !== state.alarmSeq) return { kind: 'act', fire: [], skipped: null, state: after }
    return { kind: 'wait', state: 'watching', why: watches(trigger), nextMs: null }
  }
  const over = alarms.filter((alarm) => isOverSinceHeld(trigger, alarm, question.firings))
  const skipped = over.length === 0 ? null : { alarms: over, why: 'it was over before the trigger could fire again' }
  if (over.length === alarms.length) return { kind: 'act', fire: [], skipped, state: after }
  const hold = heldUntil(trigger, question.firings, calendarMs)
  if (hold !== null)
    return { kind: 'wait', state: 'waiting', why: `${names(alarms)}: ${hold.why}`, nextMs: hold.untilMs }
  if (openRun !== null) {
    const why = `${names(alarms)}: waits for the end of ${openRun}`
    return { kind: 'wait', state: 'waiting', why, nextMs: null }
  }
  return { kind: 'act', fire: alarms.filter((alarm) => !over.includes(alarm)), skipped, state: after }
}

const listensTo = ({ monitors }: AlarmTrigger, source: string) =>
  monitors.length === 0 ? isMonitorSource(source) : (monitors as string[]).includes(source)

const watches = ({ monitors }: AlarmTrigger) =>
  `no alarm of ${monitors.length === 0 ? 'any monitor' : monitors.join(', ')}`

/** What keeps it from firing now, and until when (calendar; null: not known, after the calendar went back). */
function heldUntil(
  { coolDownMs, perDay }: AlarmTrigger,
  firings: PastFiring[],
  nowMs: number,
): { why: string; untilMs: number | null } | null {
  // A firing that lies in the future was before the calendar went back: then real time counts.
  const ageMs = ({ calendarMs, agoMs }: PastFiring) => (calendarMs > nowMs ? agoMs : nowMs - calendarMs)
  const until = ({ calendarMs }: PastFiring, ms: number) => (calendarMs > nowMs ? null : calendarMs + ms)
  const [last] = firings
  if (last !== undefined && ageMs(last) < coolDownMs) {
    const untilMs = until(last, coolDownMs)
    return { why: `cools down after ${last.runId}${untilMs === null ? '' : ` until ${iso(untilMs)}`}`, untilMs }
  }
  const ofDay = firings.filter((firing) => ageMs(firing) < DAY_MS)
  if (ofDay.length < perDay) return null
  const untilMs = until(ofDay[perDay - 1]!, DAY_MS)
  return {
    why: `${ofDay.length} of ${perDay} in 24 hours${untilMs === null ? '' : `, until ${iso(untilMs)}`}`,
    untilMs,
  }
}

/** It was raised while the trigger was held back, and is resolved: the run before has helped, or time has. */
function isOverSinceHeld({ coolDownMs, perDay }: AlarmTrigger, alarm: Alert, firings: FiringRecord[]): boolean {
  if (alarm.status !== 'resolved') return false
  const heldUntilMs = Math.max(
    firings[0] === undefined ? 0 : firings[0].calendarMs + coolDownMs,
    firings[perDay - 1] === undefined ? 0 : firings[perDay - 1]!.calendarMs + DAY_MS,
  )
  return (alarm.firedCalendarMs ?? 0) < heldUntilMs
}

/** `drift (distance), quality and 2 more` */
export function names(alarms: Alert[]): string {
  const [first, second, ...rest] = alarms.map(({ source, subject }) =>
    subject === '' ? source : `${source} (${subject})`,
  )
  const shown = second === undefined ? first! : rest.length === 0 ? `${first} and ${second}` : `${first}, ${second}`
  return rest.length === 0 ? shown : `${shown} and ${rest.length} more`
}
