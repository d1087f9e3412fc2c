import { driftVerdict } from '../../kernel/stats/drift.ts'
import { binOf, quantileEdges } from '../../kernel/stats/histogram.ts'
import { meanDifference } from '../../kernel/stats/mean-difference.ts'
import { predictedActual } from '../../kernel/stats/predicted-actual.ts'
import { shareDifference } from '../../kernel/stats/proportions.ts'
import { seededRandom, type Random } from '../../kernel/stats/random.ts'

/** The monitors that judge rows, with their defaults. */
const LIMITS = { drift: 0.25, predictionDrift: 0.25, missing: 0.05, unseen: 0.05, predictedActual: 1.25, quality: 0.05 }
const [ALPHA, MIN_ROWS, RAISE_AFTER, CLEAR_AFTER] = [0.001, 200, 2, 2]

export type RowMonitor = keyof typeof LIMITS

export interface QuietScenario {
  /** Rows of a working day; at weekends there are 60%. */
  rowsPerDay: number
  models: number
  days: number
  baselineRows: number
  /** Standard deviation of what is different from day to day, in standard deviations of a column: real days aren't alike. */
  dayEffect: number
  seed: number
}

export interface QuietMonitor {
  alarms: number
  /** Windows that were bad, whether or not an alarm came of it; and that were too small to judge. */
  badWindows: number
  insufficient: number
  windows: number
}

/**
 * Models whose world does not change, but has its days and weeks: a column that follows the hour, one that follows the
 * weekday, one with missing values, fifty categories of which most are rare, and labels. Windows of one day are judged
 * against a baseline from all hours of eight weeks, as the monitors do by default.
 */
export function quietDays(scenario: QuietScenario): Record<RowMonitor, QuietMonitor> {
  const random = seededRandom(scenario.seed)
  const names = Object.keys(LIMITS) as RowMonitor[]
  const result = Object.fromEntries(names.map((name) => [name, emptyMonitor()])) as Record<RowMonitor, QuietMonitor>
  for (let model = 0; model < scenario.models; model++) {
    const baseline = baselineOf(scenario, random)
    const states = new Map<string, AlarmState>()
    for (let day = 0; day < scenario.days; day++) {
      const rows = Math.round(scenario.rowsPerDay * (day % 7 < 5 ? 1 : 0.6))
      const window = countDay(baseline, day, rows, scenario.dayEffect, random)
      for (const { monitor, subject, verdict } of judge(baseline.counts, window)) {
        const state = states.get(monitor + subject) ?? { bad: 0, good: 0, firing: false }
        states.set(monitor + subject, state)
        record(result[monitor], verdict, step(state, verdict))
      }
    }
  }
  return result
}

type Verdict = 'good' | 'bad' | 'insufficient'

interface AlarmState {
  bad: number
  good: number
  firing: boolean
}

/** Hysteresis: raised by bad windows in a row, cleared by good ones; what can't be judged changes nothing. @returns whether it was raised now */
function step(state: AlarmState, verdict: Verdict): boolean {
  if (verdict === 'insufficient') return false
  state.bad = verdict === 'bad' ? state.bad + 1 : 0
  state.good = verdict === 'good' ? state.good + 1 : 0
  if (state.firing && state.good >= CLEAR_AFTER) state.firing = false
  if (state.firing || state.bad < RAISE_AFTER) return false
  state.firing = true
  return true
}

function record(monitor: QuietMonitor, verdict: Verdict, raised: boolean): void {
  monitor.windows += 1
  if (verdict === 'bad') monitor.badWindows += 1
  if (verdict === 'insufficient') monitor.insufficient += 1
  if (raised) monitor.alarms += 1
}

interface Row {
  hourly: number
  weekly: number
  /** NaN: missing. */
  gappy: number
  category: number
  score: number
  label: number
}

const NUMERIC = ['hourly', 'weekly', 'gappy', 'score'] as const
type Numeric = (typeof NUMERIC)[number]

interface Counts {
  rows: number
  /** Bins of each number, missing last. */
  numeric: Record<Numeric, number[]>
  /** The 50 most frequent, others last. */
  category: number[]
  predicted: number
  actual: number
  losses: { n: number; sum: number; squares: number }
}

interface Baseline {
  edges: Record<Numeric, number[]>
  counts: Counts
}

function baselineOf({ baselineRows, dayEffect }: QuietScenario, random: Random): Baseline {
  const rows: Row[] = []
  for (let day = 0; day < 56; day++) {
    const effect = dayEffect * random.normal()
    for (let row = 0; row < (baselineRows / 56) * (day % 7 < 5 ? 1.13 : 0.68); row++)
      rows.push(drawRow(day, effect, random))
  }
  const edges = Object.fromEntries(
    NUMERIC.map((name) => [
      name,
      quantileEdges(Float64Array.from(rows.map((row) => row[name]).filter(Number.isFinite)).sort(), 10),
    ]),
  ) as Baseline['edges']
  const counts = emptyCounts(edges)
  for (const row of rows) count(counts, edges, row)
  return { edges, counts }
}

function countDay({ edges }: Baseline, day: number, rows: number, dayEffect: number, random: Random): Counts {
  const counts = emptyCounts(edges)
  const effect = dayEffect * random.normal()
  for (let row = 0; row < rows; row++) count(counts, edges, drawRow(day, effect, random))
  return counts
}

/** The chance of a label is what the model says: its predictions are right. */
function drawRow(day: number, effect: number, random: Random): Row {
  const hour = Math.sin(2 * Math.PI * random.uniform())
  const hourly = hour + 0.7 * random.normal() + effect
  const weekly = (day % 7 < 5 ? 0.1 : -0.25) + random.normal() + effect
  const gappy = random.uniform() < 0.03 ? Number.NaN : Math.exp(random.normal())
  // Shares that fall with the square: the 50th most frequent is one in four thousand.
  const category = Math.min(59, Math.floor(1 / (1 - 0.985 * random.uniform()) - 1))
  const score = 1 / (1 + Math.exp(1.6 - 0.5 * hourly - 0.5 * weekly))
  return { hourly, weekly, gappy, category, score, label: random.uniform() < score ? 1 : 0 }
}

function count(counts: Counts, edges: Baseline['edges'], row: Row): void {
  counts.rows += 1
  for (const name of NUMERIC) {
    const bins = counts.numeric[name]
    bins[Number.isNaN(row[name]) ? bins.length - 1 : binOf(edges[name], row[name])]! += 1
  }
  counts.category[Math.min(50, row.category)]! += 1
  counts.predicted += row.score
  counts.actual += row.label
  const loss = -Math.log(row.label === 1 ? row.score : 1 - row.score)
  counts.losses.n += 1
  counts.losses.sum += loss
  counts.losses.squares += loss * loss
}

function judge(baseline: Counts, window: Counts): { monitor: RowMonitor; subject: string; verdict: Verdict }[] {
  const common = { alpha: ALPHA, minRows: MIN_ROWS }
  const options = (monitor: RowMonitor) => ({ ...common, limit: LIMITS[monitor] })
  const columns = [
    ...(['hourly', 'weekly', 'gappy'] as const).map((name) => ({
      name,
      before: baseline.numeric[name],
      now: window.numeric[name],
    })),
    { name: 'category', before: baseline.category, now: window.category },
  ]
  const shared = (monitor: RowMonitor) => ({ ...options(monitor), alpha: ALPHA / columns.length })
  const last = (counts: number[], rows: number) => ({ count: counts.at(-1)!, rows })
  const drift = (before: number[], now: number[], of: ReturnType<typeof options>) =>
    asVerdict(driftVerdict(before, now, of).verdict)
  return [
    ...columns.map(({ name, before, now }) => ({
      monitor: 'drift' as const,
      subject: name,
      verdict: drift(before, now, shared('drift')),
    })),
    ...columns.map(({ name, before, now }) => ({
      monitor: name === 'category' ? ('unseen' as const) : ('missing' as const),
      subject: name,
      verdict: asVerdict(
        shareDifference(last(before, baseline.rows), last(now, window.rows), shared('missing')).verdict,
      ),
    })),
    {
      monitor: 'predictionDrift',
      subject: '',
      verdict: drift(baseline.numeric.score, window.numeric.score, options('predictionDrift')),
    },
    {
      monitor: 'predictedActual',
      subject: '',
      verdict: asVerdict(predictedActual(window, options('predictedActual')).verdict),
    },
    {
      monitor: 'quality',
      subject: '',
      verdict: asVerdict(meanDifference(baseline.losses, window.losses, options('quality')).verdict),
    },
  ]
}

function asVerdict(verdict: 'steady' | 'insufficient' | 'drifted' | 'raised' | 'off' | 'worse'): Verdict {
  return verdict === 'steady' ? 'good' : verdict === 'insufficient' ? 'insufficient' : 'bad'
}

function emptyCounts(edges: Baseline['edges']): Counts {
  const zeros = (length: number) => Array.from({ length }, () => 0)
  const numeric = Object.fromEntries(NUMERIC.map((name) => [name, zeros(edges[name].length + 2)])) as Counts['numeric']
  return { rows: 0, numeric, category: zeros(51), predicted: 0, actual: 0, losses: { n: 0, sum: 0, squares: 0 } }
}

const emptyMonitor = (): QuietMonitor => ({ alarms: 0, badWindows: 0, insufficient: 0, windows: 0 })
