import type { Command } from 'commander'

import type { MonitorView } from '../../api/monitoring-schemas.ts'
import type { Cli } from '../cli.ts'
import { duration, number, time } from '../text.ts'

export function defineMonitors(program: Command, cli: Cli): void {
  program
    .command('monitors [model]')
    .description('what each monitor said of its last window: value, limit, rows, verdict, and since when')
    .option('--columns', 'each column by itself')
    .addHelpText('after', EXAMPLES)
    .action(async (model: string | undefined, options: { columns?: boolean }) => {
      const { api } = await cli.connect()
      const monitors = await api.monitors.list({ model })
      if (cli.json) return cli.document(monitors)
      showMonitors(cli, options.columns === true ? monitors : monitors.filter(isWhole(monitors)))
    })
}

/** The monitor's own line, and those of columns that are bad. */
function isWhole(monitors: MonitorView[]): (monitor: MonitorView) => boolean {
  const bad = (m: MonitorView) => m.subject !== '' && m.verdict === 'bad'
  const hasBad = (m: MonitorView) =>
    monitors.some((other) => other.model === m.model && other.monitor === m.monitor && bad(other))
  return (monitor) => (monitor.subject === '' ? !hasBad(monitor) : bad(monitor))
}

function showMonitors(cli: Cli, monitors: MonitorView[]): void {
  cli.table(
    monitors,
    [
      { title: 'model', value: (m) => m.model, group: true },
      { title: 'monitor', value: (m) => m.monitor },
      { title: 'of', value: (m) => m.subject },
      { title: 'version', value: (m) => m.version ?? '–' },
      { title: 'value', value: (m) => quantity(m.value, m.unit), align: 'right' },
      { title: 'limit', value: (m) => quantity(m.limit, m.unit), align: 'right' },
      { title: 'n', value: (m) => number(m.n), align: 'right' },
      { title: 'verdict', value: (m) => m.verdict, style: (text) => cli.status(text) },
      { title: 'since', value: (m) => time(m.sinceMs) },
      { title: 'alert', value: (m) => m.alert ?? '' },
      { title: 'why', value: (m) => m.why, mayGoUnder: true },
    ],
    'no monitors: no configuration is applied, or all of them are off',
  )
}

function quantity(value: number | null, unit: MonitorView['unit']): string {
  if (value === null) return '–'
  if (unit === 'ms') return duration(value)
  if (unit === 'requests') return number(value)
  return String(Number(value.toPrecision(3)))
}

const EXAMPLES = `
A window is judged once it is over and its predictions are in the lake; those that need labels wait for the label delay.

Examples:
  millrace monitors
  millrace monitors late-flight --columns
  millrace monitors --json
`
