import type { ServiceLevelConfig } from '../../config/project.ts'
import { burnRate, burns, burnWindows, type BurnWindow } from '../../kernel/stats/burn-rate.ts'
import { levelFacts, type EventCount, type LevelEvents } from './level.ts'

/**
 * What an error budget has left. The budget of a window is the share of its events that may be bad, 1 − objective; it
 * burns when bad events come so fast, in a long and in a short window both, that it would not last; it is spent when as
 * many have come as it allows. Once spent it is back with a tenth of it left, so that it does not come and go with each
 * event.
 *
 * @see Beyer et al., "The Site Reliability Workbook", O'Reilly 2018, chapter 5, "Alerting on SLOs"
 */
export interface Budget {
  state: BudgetState
  /** One sentence with the numbers. */
  why: string
  good: number
  bad: number
  /** 1 untouched, 0 or less spent; null where nothing was measured. */
  left: number | null
  /** What would bring it back, for people; null unless it is spent. */
  restores: string | null
  /** By pair of windows, from the fastest. */
  burns: Burn[]
}

export type BudgetState =
  | 'unmeasured' // no event within the window
  | 'kept'
  | 'burning' // at this rate it will be spent before its window is over
  | 'spent'

export interface Burn extends BurnWindow {
  /** Times the rate that the window allows. */
  longRate: number
  shortRate: number
  burning: boolean
}

/** So much must be left before a spent budget counts as back. */
const BACK_AT = 0.1
/** Of the last three rare events so many bad ones spend the budget. */
const RARE_BAD = 2
const RARE_LAST = 3

/** @param before - state at the last look, null for none */
export function decideBudget(level: ServiceLevelConfig, events: LevelEvents, before: BudgetState | null): Budget {
  const { good, bad } = events.whole
  const seen = { good, bad, burns: burnsOf(level, events, before) }
  if (good + bad === 0)
    return {
      ...seen,
      state: 'unmeasured',
      left: null,
      restores: null,
      why: `nothing was measured in ${span(level.windowMs)}`,
    }
  const allowed = (good + bad) * (1 - level.objective)
  const { evidence } = levelFacts[level.name]
  if (evidence.kind === 'rare' && allowed < RARE_BAD) return { ...seen, ...rareBudget(level, events) }
  return { ...seen, ...plentyBudget(level, seen, before) }
}

/** Too few events for a share of them to mean much: the last three speak. */
function rareBudget(
  level: ServiceLevelConfig,
  { last }: LevelEvents,
): Pick<Budget, 'state' | 'left' | 'restores' | 'why'> {
  const recent = last.slice(0, RARE_LAST)
  const bad = recent.filter((good) => !good).length
  const why = `${bad} of the last ${counted(level, recent.length)} ${bad === 1 ? 'was' : 'were'} bad`
  const left = 1 - bad / RARE_BAD
  if (bad < RARE_BAD) return { state: 'kept', left, restores: null, why }
  return { state: 'spent', left, why, restores: `${counted(level, goodInARow(recent), 'good')} in a row` }
}

/** How many good ones it takes until fewer than two of the last three are bad. */
function goodInARow(last: boolean[]): number {
  const after = (n: number) => [...Array.from({ length: n }, () => true), ...last].slice(0, RARE_LAST)
  const enough = [1, 2, 3].find((n) => after(n).filter((good) => !good).length < RARE_BAD)
  return enough ?? RARE_LAST
}

function plentyBudget(
  level: ServiceLevelConfig,
  seen: { good: number; bad: number; burns: Burn[] },
  before: BudgetState | null,
): Pick<Budget, 'state' | 'left' | 'restores' | 'why'> {
  const { good, bad } = seen
  const total = good + bad
  const allowed = Math.max(minBad(level), total * (1 - level.objective))
  // To the billionth: 100 of 10,000 is all that 99% allows, however binary numbers put it.
  const left = Number((1 - bad / allowed).toFixed(9))
  const share = `${bad} of ${counted(level, total)} ${bad === 1 ? 'was' : 'were'} bad in ${span(level.windowMs)}, ${percent(bad / total)} where ${percent(1 - level.objective)} is allowed`
  if (left <= 0 || (before === 'spent' && left < BACK_AT))
    return {
      state: 'spent',
      left,
      why: `${share}: ${percent(Math.max(0, left))} of the budget is left`,
      restores: restores(level, total, bad),
    }
  const burning = seen.burns.find((burn) => burn.burning)
  if (burning === undefined) return { state: 'kept', left, restores: null, why: share }
  const rate = `it burns at ${times(burning.longRate)} the allowed rate over ${span(burning.longMs)} and ${times(burning.shortRate)} over ${span(burning.shortMs)}`
  return { state: 'burning', left, restores: null, why: `${share}; ${rate}` }
}

/** With enough good events the share of bad ones falls; without any the bad ones leave the window. */
function restores(level: ServiceLevelConfig, total: number, bad: number): string {
  const needed = Math.ceil(bad / ((1 - BACK_AT) * (1 - level.objective)) - total)
  const leave = `once the bad ones are older than ${span(level.windowMs)}`
  return needed > 0 ? `${counted(level, needed, 'more good')}, or ${leave}` : leave
}

/** `1 run`, `3 good runs` */
function counted(level: ServiceLevelConfig, n: number, kind = ''): string {
  const [one, several] = levelFacts[level.name].events
  return `${n} ${kind === '' ? '' : `${kind} `}${n === 1 ? one : several}`
}

function minBad(level: ServiceLevelConfig): number {
  const { evidence } = levelFacts[level.name]
  return evidence.kind === 'rare' ? RARE_BAD : evidence.minBad
}

/** What burned goes on burning until its short window is below half the rate. */
function burnsOf(level: ServiceLevelConfig, events: LevelEvents, before: BudgetState | null): Burn[] {
  const rate = ({ good, bad }: EventCount) => burnRate(good, bad, level.objective)
  return burnWindows(level.windowMs).map((window, i) => {
    const { long, short } = events.pairs[i]!
    const limit = before === 'burning' ? window.burn / 2 : window.burn
    const burning = burns(long, short, { burn: limit, objective: level.objective, minBad: minBad(level) })
    return { ...window, longRate: rate(long), shortRate: rate(short), burning }
  })
}

/** `99.95%`, `0.5%`: as many digits as tell it from its neighbours. */
export function percent(share: number): string {
  const value = share * 100
  const size = Math.min(Math.abs(value), Math.abs(100 - value))
  const digits = size >= 10 || size === 0 ? 1 : size >= 1 ? 2 : 3
  return `${Number(value.toFixed(digits))}%`
}

const times = (rate: number) => `${Number(rate.toFixed(1))} ×`

/** `30 days`, `6 h`, `5 min` */
export function span(ms: number): string {
  const [value, unit] =
    ms >= 2 * 86_400_000
      ? [ms / 86_400_000, 'days']
      : ms >= 3_600_000
        ? [ms / 3_600_000, 'h']
        : ms >= 60_000
          ? [ms / 60_000, 'min']
          : [ms / 1_000, 's']
  return `${Number(value.toFixed(1))} ${unit}`
}
