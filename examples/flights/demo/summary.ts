import type { DemoReport, VersionReport } from './report-schema.ts'

/** The report as text for people. */
export function summarise(report: DemoReport, path: string): string {
  return [
    '',
    'Versions',
    ...report.versions.map(versionLine),
    ...section('On trial', report.trials.map(trialLine)),
    ...section('Alarms', report.alarms.map(alarmLine)),
    ...section('Out of service', report.retirements.map(retirementLine)),
    ...section('Promises', report.serviceLevels.map(levelLine)),
    ...section('The fault', faultLines(report.fault)),
    '',
    'Summary',
    ...summaryRows(report).map(([name, text]) => `  ${name.padEnd(13)}${text}`),
    '',
    ...report.checks.map(({ name, passed, why }) => `  ${passed ? 'ok    ' : 'FAILED'}  ${name.padEnd(12)}${why}`),
    '',
    `${report.passed ? 'Everything was kept.' : 'Not everything was kept: see the lines marked FAILED.'} All figures: ${path}`,
  ].join('\n')
}

function summaryRows(report: DemoReport): [string, string][] {
  const { requests, predictions, quality, leadTimes, calendar } = report
  const origins = Object.entries(requests.byOrigin).map(([origin, count]) => `${thousands(count)} ${origin}`)
  return [
    ['versions', countVersions(report.totals)],
    ['trainings', countFirings(report.triggers)],
    [
      'requests',
      `${thousands(requests.sent)} sent, ${thousands(requests.answered)} answered, ${requests.failed} failed, ${requests.interrupted} interrupted`,
    ],
    [
      '',
      `${thousands(requests.sentWhileHeld)} of them during a training, ${thousands(requests.sentOnTrial)} while a version was on trial`,
    ],
    [
      'predictions',
      `${thousands(predictions.acknowledged)} acknowledged, ${predictions.lost} lost, ${predictions.doubled} doubled; in the lake: ${origins.join(', ')}`,
    ],
    [
      'log loss',
      `${quality.released.logLoss.toFixed(4)} as released, ${quality.frozen.logLoss.toFixed(4)} had the first version stayed`,
    ],
    ['AUC', `${auc(quality.released.auc)} as released, ${auc(quality.frozen.auc)} had the first version stayed`],
    [
      'lead time',
      `${milliseconds(leadTimes.medianMs)} from the end of training to the first answer (median; slowest ${milliseconds(leadTimes.maxMs)})`,
    ],
    [
      'calendar',
      `${calendar.days} days in ${report.durationSeconds.toFixed(0)} s; held for ${calendar.heldSeconds.toFixed(0)} s of them while Millrace trained`,
    ],
  ]
}

const section = (title: string, lines: string[]) => (lines.length === 0 ? [] : ['', title, ...lines])

function countVersions(totals: DemoReport['totals']): string {
  const parts: [number, string][] = [
    [totals.released, 'released'],
    [totals.rolledBack, 'rolled back'],
    [totals.stopped, 'stopped before any traffic'],
    [totals.onTrial, 'still on trial'],
    [totals.waiting, 'waiting for a person'],
    [totals.spare, 'spare'],
    [totals.rejected, 'rejected'],
  ]
  const shown = parts.filter(([count]) => count > 0).map(([count, what]) => `${count} ${what}`)
  const retired = totals.retired === 0 ? '' : `; ${totals.retired} retired since`
  return `${totals.trained} trained: ${shown.join(', ')}${retired}`
}

const triggerWords: Record<string, string> = {
  cron: 'by the clock',
  alarm: 'by an alarm',
  newData: 'by new data',
  manual: 'by hand',
}

function countFirings({ fired, skipped }: DemoReport['triggers']): string {
  const counts = Object.entries(fired).map(([kind, count]) => `${count} ${triggerWords[kind] ?? kind}`)
  return `${counts.join(', ')}${skipped === 0 ? '' : `; ${skipped} left out`}`
}

function versionLine(version: VersionReport): string {
  const gain =
    version.gain === null ? '' : `  gain ${version.gain >= 0 ? '+' : '−'}${Math.abs(version.gain).toFixed(4)}`
  const figures = `log loss ${version.logLoss?.toFixed(4) ?? '–'}${gain}`
  const retired = version.retired === null ? '' : `  ${version.retired.split(' ')[0]}`
  return `  ${version.ref.padEnd(16)}${version.asOf}  ${version.outcome.padEnd(12)} ${figures.padEnd(34)} ${thousands(version.answered)} answers${retired}`
}

function trialLine({
  version,
  kind,
  weightPercent,
  from,
  seconds,
  outcome,
  looks,
}: DemoReport['trials'][number]): string {
  const last = looks.at(-1)
  const seen = last === undefined ? '' : `${thousands(last.requests)} requests, ${thousands(last.labels)} labels`
  const took = seconds === null ? 'open' : `${seconds.toFixed(1)} s`
  return `  ${version.padEnd(16)}${from}  ${`${kind} of ${weightPercent}%`.padEnd(15)} ${(trialWords[outcome] ?? outcome).padEnd(14)} ${seen} in ${took}`
}

const trialWords: Record<string, string> = {
  next: 'goes on',
  promote: 'promoted',
  rollBack: 'harm proven',
  hold: 'held',
}

function alarmLine({ source, subject, raised, resolved, response, why }: DemoReport['alarms'][number]): string {
  const name = subject === '' ? source : `${source} of ${subject}`
  return `  ${raised}  ${name.padEnd(26)} ${response.padEnd(9)} ${resolved ? 'over' : 'open'}  ${why}`
}

function retirementLine({ version, status, policy, at, why }: DemoReport['retirements'][number]): string {
  return `  ${version.padEnd(16)}${at}  ${status.padEnd(9)} ${policy}: ${why}`
}

function levelLine({ name, objective, attained, budgetLeft, events }: DemoReport['serviceLevels'][number]): string {
  const share = (value: number | null) => (value === null ? '–' : `${(100 * value).toFixed(2)}%`)
  const left = budgetLeft === null ? '–' : `${(100 * budgetLeft).toFixed(0)}%`
  return `  ${name.padEnd(20)} promised ${share(objective).padEnd(8)} kept ${share(attained).padEnd(8)} budget left ${left.padEnd(6)} ${thousands(events)} events`
}

function faultLines(fault: DemoReport['fault']): string[] {
  if (fault === null) return []
  const { caughtBy, check, requestsUntilCaught, badAnswers, badAnswersUntilCaught } = fault
  const head = `  From ${fault.onset} on: ${fault.what}.`
  if (caughtBy === 'not caught') return [head, `  NOT CAUGHT. ${thousands(badAnswers)} bad answers were served.`]
  return [
    head,
    `  Caught by: ${caughtBy} (${check}) on ${fault.caughtOn}, after ${thousands(requestsUntilCaught ?? 0)} requests; expected: ${fault.expected}.`,
    `  Millrace says: ${fault.why}`,
    `  Bad answers: ${thousands(badAnswersUntilCaught ?? 0)} until then, ${thousands(badAnswers)} in all.${routeBack(fault)}`,
  ]
}

function routeBack({ proofToRouteBackMs, lastBadAnswerAfterProofMs }: NonNullable<DemoReport['fault']>): string {
  if (proofToRouteBackMs === null) return ''
  const last =
    lastBadAnswerAfterProofMs === null ? '' : `, the last bad answer ${lastBadAnswerAfterProofMs} ms after it`
  return ` The route was back ${proofToRouteBackMs} ms after the proof${last}.`
}

const thousands = (count: number) => count.toLocaleString('en')

const auc = (value: number | null) => value?.toFixed(3) ?? 'undefined'

const milliseconds = (value: number | null) => (value === null ? 'unknown' : `${(value / 1000).toFixed(1)} s`)
