import type { MonitorConfig } from '../../config/project.ts'
import { driftVerdict } from '../../kernel/stats/drift.ts'
import { shareDifference } from '../../kernel/stats/proportions.ts'
import type { ColumnProfile } from '../evaluation/baseline-profile.ts'
import { count, number, percent, probability } from './figures-text.ts'
import { insufficient, type Finding, type WindowFacts } from './finding.ts'
import { baselineCounts, type ColumnCounts } from './observation.ts'

/** What the champion was asked and answered, held against its baseline profile. Pure. */

export const decideDrift = (monitor: MonitorConfig, facts: WindowFacts): Finding[] =>
  ofColumns(monitor, facts, () => true, judgeDrift)

export const decideMissing = (monitor: MonitorConfig, facts: WindowFacts): Finding[] =>
  ofColumns(monitor, facts, () => true, judgeMissing)

export const decideUnseen = (monitor: MonitorConfig, facts: WindowFacts): Finding[] =>
  ofColumns(monitor, facts, ({ kind }) => kind === 'categorical', judgeUnseen)

export function decidePredictionDrift(monitor: MonitorConfig, facts: WindowFacts): Finding {
  const { profile, counts } = facts
  if (profile === null) return insufficient('', monitor.limit, noProfile(facts))
  const current = counts?.prediction
  if (!current) return insufficient('', monitor.limit, nothingOf('the prediction', facts))
  const { limit, alpha, minRows } = monitor
  const baseline = baselineCounts(profile.prediction)
  const question = { name: 'the predictions', baseline, current, limit: limit!, alpha, minRows }
  return { subject: '', limit, ...judgeDrift(question) }
}

interface Question {
  name: string
  baseline: ColumnCounts
  current: ColumnCounts
  limit: number
  /** Shared out over the columns, so that many of them alarm no more often than one. */
  alpha: number
  minRows: number
}

type Judgement = Omit<Finding, 'subject' | 'limit'>

function ofColumns(
  monitor: MonitorConfig,
  facts: WindowFacts,
  applies: (profile: ColumnProfile) => boolean,
  judge: (question: Question) => Judgement,
): Finding[] {
  const { profile, counts } = facts
  if (profile === null) return [insufficient('', monitor.limit, noProfile(facts))]
  const watched = profile.columns.filter(
    (column) => monitor.columns.length === 0 || monitor.columns.includes(column.name),
  )
  const columns = watched.filter(applies)
  const unknown = monitor.columns
    .filter((name) => !columns.some((column) => column.name === name))
    .map((name) => insufficient(name, monitor.limit, `'${name}' is no input that '${monitor.name}' can watch`))
  if (columns.length === 0 && unknown.length === 0) {
    return [insufficient('', monitor.limit, `${facts.versionId} has no input that '${monitor.name}' can watch`)]
  }
  const alpha = monitor.alpha / columns.length
  const found = columns.map((column): Finding => {
    const current = counts?.columns[column.name]
    if (current === undefined) return insufficient(column.name, monitor.limit, nothingOf(column.name, facts))
    const { limit, minRows } = monitor
    const question = { name: column.name, baseline: baselineCounts(column), current, limit: limit!, alpha, minRows }
    return { subject: column.name, limit, ...judge(question) }
  })
  return [...found, ...unknown]
}

function judgeDrift({ name, baseline, current, limit, alpha, minRows }: Question): Judgement {
  const found = driftVerdict(baseline, current, { limit, alpha, minRows })
  const { psi, psiBeyondChance: value, jensenShannonBeyondChance, pValue, baselineRows, currentRows } = found
  const figures = { psi, psiBeyondChance: value, jensenShannonBeyondChance, pValue, rows: currentRows, baselineRows }
  if (found.verdict === 'insufficient') {
    return { verdict: 'insufficient', why: tooFew(currentRows, baselineRows, minRows), value, n: currentRows, figures }
  }
  const verdict = found.verdict === 'drifted' ? 'bad' : 'ok'
  const against = `${count(currentRows)} rows against ${count(baselineRows)} of the baseline profile`
  const jensenShannon = `Jensen-Shannon ${number(jensenShannonBeyondChance)} bits, ${probability(pValue)}`
  const beyond = value! > limit ? (verdict === 'bad' ? 'exceeds' : 'exceeds, by chance,') : 'is within'
  const why = `PSI ${number(value)} of ${name} beyond chance ${beyond} ${limit} (${jensenShannon}; ${against})`
  return { verdict, why, value, n: currentRows, figures }
}

function judgeMissing(question: Question): Judgement {
  return judgeShare(
    question,
    'missing',
    { count: question.baseline[0]!, rows: rowsOf(question.baseline) },
    {
      count: question.current[0]!,
      rows: rowsOf(question.current),
    },
  )
}

/** Of the values that are there, those that are not among the profile's most frequent. */
function judgeUnseen(question: Question): Judgement {
  const share = (counts: ColumnCounts) => ({ count: counts[1]!, rows: rowsOf(counts) - counts[0]! })
  return judgeShare(question, 'unknown to the baseline profile', share(question.baseline), share(question.current))
}

function judgeShare(
  { name, limit, alpha, minRows }: Question,
  what: string,
  baseline: { count: number; rows: number },
  current: { count: number; rows: number },
): Judgement {
  const found = shareDifference(baseline, current, { limit, alpha, minRows })
  const { baselineShare, currentShare, difference, lower, upper, pValue } = found
  const figures = { share: currentShare, baselineShare, difference, lower, upper, pValue, rows: current.rows }
  const [value, n] = [difference, current.rows]
  if (found.verdict === 'insufficient') {
    return { verdict: 'insufficient', why: tooFew(n, baseline.rows, minRows), value, n, figures }
  }
  const verdict = found.verdict === 'raised' ? 'bad' : 'ok'
  const rise = `${percent(currentShare)} of ${name} ${what}, ${percent(baselineShare)} before`
  const bounds = `a rise of ${number(difference)} (${number(lower)} … ${number(upper)}), limit ${limit}`
  return { verdict, why: `${rise}: ${bounds}; ${count(n)} rows`, value, n, figures }
}

function tooFew(rows: number, baselineRows: number, minRows: number): string {
  const [side, n] = rows < minRows ? ['in the window', rows] : ['in the baseline profile', baselineRows]
  return `${count(n)} rows ${side}: fewer than ${count(minRows)} say nothing`
}

function noProfile({ versionId }: WindowFacts): string {
  return `${versionId} has no baseline profile: its model declares neither a holdout nor training rows that name its inputs`
}

function nothingOf(what: string, { versionId, counts }: WindowFacts): string {
  return counts === null
    ? `${versionId} made no live predictions in the window`
    : `${what} of ${versionId} is not in the prediction log`
}

function rowsOf(counts: ColumnCounts): number {
  return counts.reduce((sum, rows) => sum + rows, 0)
}
