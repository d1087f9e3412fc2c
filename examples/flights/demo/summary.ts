import type { DemoReport, VersionReport } from './report-schema.ts'

/** The report as text for people. */
export function summarise(report: DemoReport, path: string): string {
  const { totals, requests, predictions, quality, leadTimes, calendar } = report
  const rows: [string, string][] = [
    [
      'versions',
      `${totals.trained} trained: ${totals.released} released, ${totals.spare} spare, ${totals.rejected} rejected`,
    ],
    [
      'requests',
      `${thousands(requests.sent)} sent, ${thousands(requests.answered)} answered, ${requests.failed} failed, ${requests.interrupted} interrupted`,
    ],
    ['', `${thousands(requests.sentWhileHeld)} of them while a training or a release was under way`],
    [
      'predictions',
      `${thousands(predictions.acknowledged)} acknowledged, ${thousands(predictions.inLake)} in the lake, ${predictions.lost} lost, ${predictions.doubled} doubled`,
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
      `${calendar.days} days; held for ${calendar.heldSeconds.toFixed(0)} s of the demo's ${report.durationSeconds.toFixed(0)} s while Millrace trained and released`,
    ],
  ]
  return [
    '',
    'Versions',
    ...report.versions.map(versionLine),
    '',
    'Summary',
    ...rows.map(([name, text]) => `  ${name.padEnd(13)}${text}`),
    '',
    ...report.checks.map(({ name, passed, why }) => `  ${passed ? 'ok    ' : 'FAILED'}  ${name.padEnd(12)}${why}`),
    '',
    `${report.passed ? 'Everything was kept.' : 'Not everything was kept: see the lines marked FAILED.'} All figures: ${path}`,
  ].join('\n')
}

function versionLine(version: VersionReport): string {
  const gain =
    version.gain === null ? '' : `  gain ${version.gain >= 0 ? '+' : '−'}${Math.abs(version.gain).toFixed(4)}`
  const figures = `log loss ${version.logLoss?.toFixed(4) ?? '–'}${gain}`
  return `  ${version.ref.padEnd(16)}${version.asOf}  ${version.outcome.padEnd(9)} ${figures.padEnd(34)} ${thousands(version.answered)} answers`
}

const thousands = (count: number) => count.toLocaleString('en')

const auc = (value: number | null) => value?.toFixed(3) ?? 'undefined'

const milliseconds = (value: number | null) => (value === null ? 'unknown' : `${(value / 1000).toFixed(1)} s`)
