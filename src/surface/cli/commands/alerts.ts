import type { Command } from 'commander'

import type { AlertView } from '../../api/monitoring-schemas.ts'
import type { Cli } from '../cli.ts'
import { time } from '../text.ts'

export function defineAlerts(program: Command, cli: Cli): void {
  program
    .command('alerts [model]')
    .description('alerts of monitors and service levels: what fires, why, and what was done about it')
    .option('--all', 'resolved ones as well')
    .addHelpText('after', EXAMPLES)
    .action(async (model: string | undefined, options: { all?: boolean }) => {
      const { api } = await cli.connect()
      const alerts = await api.alerts.list({ model, all: options.all === true })
      if (cli.json) return cli.document(alerts)
      showAlerts(cli, alerts)
    })
}

export function showAlerts(cli: Cli, alerts: AlertView[]): void {
  cli.table(
    alerts,
    [
      { title: 'alert', value: (a) => a.id },
      { title: 'severity', value: (a) => a.severity, style: (text) => cli.status(text) },
      { title: 'status', value: statusOf, style: (text) => cli.status(text) },
      { title: 'model', value: (a) => a.model },
      { title: 'source', value: (a) => `${a.source}${a.subject === '' ? '' : ` of ${a.subject}`}` },
      { title: 'since', value: (a) => time(a.firedCalendarMs ?? a.openedCalendarMs), spare: true },
      { title: 'done', value: done },
      { title: 'why', value: (a) => a.why, mayGoUnder: true },
    ],
    'no alerts',
  )
  for (const alert of alerts) showRest(cli, alert)
}

function showRest(cli: Cli, { id, runbook, notifications, acknowledgedBy, acknowledgedWhy, status }: AlertView): void {
  if (status === 'resolved') return
  if (runbook !== null) cli.text(`${id}: ${runbook}`)
  if (acknowledgedBy !== null) cli.text(`${id}: acknowledged by ${acknowledgedBy}: ${acknowledgedWhy}`)
  for (const { target, why, about } of notifications.filter((n) => n.status === 'failed'))
    cli.text(`${id}: ${target} was not told that it is ${about}: ${why}`)
}

/** Besides telling. */
function done({ status, response, responseTaken }: AlertView): string {
  if (responseTaken !== null) return responseTaken
  return status === 'firing' && response !== 'tell' ? `${response}: not yet` : '–'
}

const statusOf = ({ status, silencedUntilMs, acknowledgedBy }: AlertView) => {
  if (status !== 'resolved' && silencedUntilMs !== null && silencedUntilMs > Date.now()) return 'silenced'
  return status === 'firing' && acknowledgedBy !== null ? 'acknowledged' : status
}

/** One line for `status`; null where nothing fires. */
export function alertLine(cli: Cli, firing: AlertView[]): string | null {
  if (firing.length === 0) return null
  const named = firing.slice(0, 3).map((a) => `${a.model} ${a.source}${a.subject === '' ? '' : ` of ${a.subject}`}`)
  const more = firing.length > named.length ? ` and ${firing.length - named.length} more` : ''
  const what = firing.length === 1 ? 'alert fires' : 'alerts fire'
  return `${firing.length} ${what}: ${named.join(', ')}${more}  ${cli.style('cyan', 'millrace alerts')}`
}

const EXAMPLES = `
Examples:
  millrace alerts
  millrace alerts late-flight --all
  millrace alerts --json
`
