import { faults, type Fault, type FaultName } from './faults.ts'

/** Which days are replayed, and how much is asked on each. */
export interface Scenario {
  /** The first day, 00:00, ms since 1970. */
  fromMs: number
  /** The day after the last. */
  untilMs: number
  /** So many weeks have landed before the week of the first day. */
  weeksBefore: number
  /** Flights that are asked about in a day. */
  perDay: number
  /** The same while a new version is on trial: a decision takes evidence, and there are more flights to ask about. */
  perTrialDay: number
  fault: { is: Fault; onsetMs: number } | null
}

/** Flights of each day that are kept ready: for trials, and to ask about while a training is under way. */
export const FLIGHTS_READY = 1_500

const day = (text: string) => Date.parse(`${text}T00:00:00Z`)

/** Eleven weeks and a half, from February through the storms of that month and of March into spring. */
const wholeLoop: Scenario = {
  fromMs: day('2001-02-01'),
  untilMs: day('2001-04-23'),
  weeksBefore: 4,
  perDay: 360,
  perTrialDay: 700,
  fault: null,
}

/** Ten days in March, the first ones as they should be. */
const faultyDays = {
  fromMs: day('2001-03-17'),
  untilMs: day('2001-03-27'),
  weeksBefore: 8,
  perDay: 360,
  perTrialDay: 700,
}

/** On Monday, when a week has landed, a developer commits and trains. */
const COMMITTED_MS = day('2001-03-19')
/** A day later, so that the requests stand out and not their week. */
const REQUESTS_WRONG_MS = day('2001-03-20')

export function scenarioOf(fault: FaultName | null): Scenario {
  if (fault === null) return wholeLoop
  const is = faults[fault]
  return { ...faultyDays, fault: { is, onsetMs: is.request === null ? COMMITTED_MS : REQUESTS_WRONG_MS } }
}
