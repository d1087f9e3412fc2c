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
  /** How far monitors may be behind at the end of a day; where they are further, the day waits for them so long. */
  monitors: { behindMs: number; waitMs: number }
  fault: { is: Fault; onsetMs: number } | null
}

/** Flights of each day that are kept ready: for trials, and to ask about while a training is under way. */
export const FLIGHTS_READY = 1_500

const DAY_MS = 86_400_000
const day = (text: string) => Date.parse(`${text}T00:00:00Z`)

/** Twelve weeks, through the storms of February and March into spring. The first version has two weeks to learn from. */
const wholeLoop: Scenario = {
  fromMs: day('2001-01-25'),
  untilMs: day('2001-04-20'),
  weeksBefore: 3,
  perDay: 360,
  perTrialDay: 700,
  monitors: { behindMs: 4 * DAY_MS, waitMs: 300 },
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
  // A day's requests are judged before the next day's, to see how many it takes; a version is judged otherwise.
  const monitors = is.request === null ? wholeLoop.monitors : { behindMs: DAY_MS, waitMs: 4_000 }
  return { ...faultyDays, monitors, fault: { is, onsetMs: is.request === null ? COMMITTED_MS : REQUESTS_WRONG_MS } }
}
