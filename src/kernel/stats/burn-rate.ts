import { StatisticsInputError } from './errors.ts'

/**
 * How fast an error budget is being spent: 1 uses it up exactly at the end of the objective's window, 14.4 in a fiftieth of
 * 30 days' hours. 0 without events.
 *
 * @param good - events that kept the objective; `bad` those that did not
 * @param objective - share of events to be good, 0 ≤ objective < 1, e.g. 0.999
 * @throws StatisticsInputError for negative counts, or an objective that leaves no budget
 * @see Beyer et al., "The Site Reliability Workbook", O'Reilly 2018, chapter 5, "Alerting on SLOs"
 */
export function burnRate(good: number, bad: number, objective: number): number {
  check(good, bad, objective)
  return bad === 0 ? 0 : bad / (good + bad) / (1 - objective)
}

export interface ErrorBudget {
  /** Bad events that so many events allow; not rounded. */
  allowed: number
  spent: number
  /** 1 − spent / allowed: 1 untouched, 0 or less spent. 1 without events. */
  left: number
}

/** The budget of a whole window, from its events so far. @throws StatisticsInputError as `burnRate` */
export function errorBudget(good: number, bad: number, objective: number): ErrorBudget {
  check(good, bad, objective)
  const allowed = (good + bad) * (1 - objective)
  return { allowed, spent: bad, left: allowed === 0 ? 1 : 1 - bad / allowed }
}

/** Two windows that must both burn: the long one shows that it matters, the short one that it still goes on. */
export interface BurnWindow {
  severity: 'page' | 'ticket'
  burn: number
  longMs: number
  shortMs: number
}

/**
 * The workbook's pairs for 30 days (14.4× over 1 h and 5 min, 6× over 6 h and 30 min, 1× over 3 days and 6 h), in the same
 * proportions for another window: each spends 2%, 5% and 10% of the budget before it alerts.
 *
 * @param windowMs - of the objective, above 0
 */
export function burnWindows(windowMs: number): BurnWindow[] {
  if (!(windowMs > 0 && windowMs < Infinity)) throw new StatisticsInputError(`No budget is over ${windowMs} ms.`)
  const scale = windowMs / (30 * DAY_MS)
  return [
    { severity: 'page', burn: 14.4, longMs: scale * HOUR_MS, shortMs: scale * 5 * MINUTE_MS },
    { severity: 'page', burn: 6, longMs: scale * 6 * HOUR_MS, shortMs: scale * 30 * MINUTE_MS },
    { severity: 'ticket', burn: 1, longMs: scale * 3 * DAY_MS, shortMs: scale * 6 * HOUR_MS },
  ]
}

/**
 * Do both windows burn at least so fast? With fewer than `minBad` bad events in the long one nothing does: of rare events a
 * single failure burns at any rate.
 */
export function burns(
  long: { good: number; bad: number },
  short: { good: number; bad: number },
  limits: { burn: number; objective: number; minBad: number },
): boolean {
  const { burn, objective, minBad } = limits
  return (
    long.bad >= minBad &&
    burnRate(long.good, long.bad, objective) >= burn &&
    burnRate(short.good, short.bad, objective) >= burn
  )
}

function check(good: number, bad: number, objective: number): void {
  if (!(good >= 0 && bad >= 0 && good + bad < Infinity)) {
    throw new StatisticsInputError(`${good} good and ${bad} bad events make no rate.`)
  }
  if (!(objective >= 0 && objective < 1)) {
    throw new StatisticsInputError(`An objective of ${objective} leaves no budget to spend.`)
  }
}

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS
