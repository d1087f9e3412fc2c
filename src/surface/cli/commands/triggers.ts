import type { Command } from 'commander'

import type { TriggerDetail, TriggerEventView } from '../../api/triggers-schemas.ts'
import type { Cli } from '../cli.ts'
import { parseInteger } from '../option-values.ts'
import { time } from '../text.ts'

export function defineTriggers(program: Command, cli: Cli): void {
  program
    .command('triggers [model] [trigger]')
    .description('what trains models by itself: state, next and last firing, and why not now')
    .option('--history', 'what fired and what did not, newest first')
    .option('--limit <number>', 'of the history: at most so many', '20')
    .addHelpText('after', EXAMPLES)
    .action(
      async (model: string | undefined, trigger: string | undefined, options: { history?: true; limit: string }) => {
        const limit = parseInteger('--limit', options.limit, { min: 1, max: 1_000 })
        const { api } = await cli.connect()
        if (options.history === true) {
          const events = await api.triggers.history({ model, trigger, limit })
          return cli.json ? cli.document(events) : showHistory(cli, events)
        }
        const list = await api.triggers.list({ model, trigger })
        return cli.json ? cli.document(list) : showTriggerDetails(cli, list)
      },
    )
}

export function showTriggerDetails(cli: Cli, list: TriggerDetail[]): void {
  cli.table(
    list,
    [
      { title: 'model', value: (t) => t.model, group: true },
      { title: 'trigger', value: (t) => t.trigger },
      { title: 'for', value: (t) => t.declared, mayGoUnder: true },
      { title: 'state', value: (t) => t.state, style: (text) => cli.status(text) },
      { title: 'next', value: (t) => time(t.nextAtMs) },
      { title: 'last', value: lastOf },
      { title: 'why', value: (t) => t.why, mayGoUnder: true },
    ],
    'no triggers: runs are started by hand',
  )
}

const lastOf = ({ lastFiredAtMs, lastRun }: TriggerDetail) =>
  lastFiredAtMs === null ? 'never' : `${time(lastFiredAtMs)}${lastRun === null ? '' : ` (${lastRun})`}`

function showHistory(cli: Cli, events: TriggerEventView[]): void {
  cli.table(
    events,
    [
      { title: 'time', value: (e) => time(e.calendarMs) },
      { title: 'model', value: (e) => e.model },
      { title: 'trigger', value: (e) => e.trigger },
      { title: 'what', value: (e) => e.what, style: (text) => cli.status(text) },
      { title: 'run', value: (e) => e.run ?? '–' },
      { title: 'why', value: (e) => e.why, mayGoUnder: true },
    ],
    'nothing yet',
  )
}

const EXAMPLES = `
Examples:
  millrace triggers
  millrace triggers late-flight cron-1
  millrace triggers late-flight --history --limit 5 --json
`
