import type { Command } from 'commander'

import type { BackfillView } from '../../api/triggers-schemas.ts'
import type { Cli } from '../cli.ts'
import { parseDuration, parseParams, parseTime, repeated } from '../option-values.ts'
import { duration, number, time } from '../text.ts'

interface BackfillOptions {
  from: string
  to: string
  every: string
  param?: string[]
  why?: string
}

export function defineBackfill(program: Command, cli: Cli): void {
  const backfill = program
    .command('backfill')
    .description('train as of past dates, one after the other; what comes out is measured, never released')
    .addHelpText('after', EXAMPLES)
  backfill
    .command('start <model>', { isDefault: true })
    .description('queue the dates; every other run of the model goes first')
    .requiredOption('--from <time>', 'the first as-of date, ISO 8601')
    .requiredOption('--to <time>', 'no as-of date lies after it')
    .option('--every <duration>', 'from one date to the next', '1d')
    .option('--param <name=value>', 'override a parameter; may be repeated', repeated)
    .option('--why <text>', 'the reason, kept with the backfill')
    .action(async (model: string, options: BackfillOptions) => {
      const wish = {
        fromMs: parseTime('--from', options.from),
        untilMs: parseTime('--to', options.to),
        everyMs: parseDuration('--every', options.every, 60_000),
        params: parseParams(options.param ?? []),
      }
      const { api } = await cli.connect()
      const started = await api.backfills.start({ model, ...wish, why: options.why, by: cli.by })
      if (cli.json) return cli.document(started)
      cli.line(`${started.backfill} of ${model}: ${number(started.runs)} runs, one after the other`)
    })
  backfill
    .command('list [model]')
    .description('backfills, newest first')
    .action(async (model: string | undefined) => {
      const { api } = await cli.connect()
      const list = await api.backfills.list({ model })
      return cli.json ? cli.document(list) : showBackfills(cli, list)
    })
  backfill
    .command('cancel <model> <backfill>')
    .description('end a backfill with the run it has open; versions that it made stay')
    .requiredOption('--why <text>', 'the reason, kept with the backfill')
    .action(async (model: string, name: string, options: { why: string }) => {
      const { api } = await cli.connect()
      const cancelled = await api.backfills.cancel({ model, backfill: name, why: options.why, by: cli.by })
      return cli.json ? cli.document(cancelled) : showBackfills(cli, [cancelled])
    })
}

function showBackfills(cli: Cli, list: BackfillView[]): void {
  cli.table(
    list,
    [
      { title: 'model', value: (b) => b.model, group: true },
      { title: 'backfill', value: (b) => b.backfill },
      { title: 'status', value: (b) => b.status, style: (text) => cli.status(text) },
      { title: 'from', value: (b) => time(b.fromMs) },
      { title: 'every', value: (b) => duration(b.everyMs), align: 'right' },
      { title: 'queued', value: (b) => `${b.queued}/${b.runs}`, align: 'right' },
      { title: 'succeeded', value: (b) => number(b.succeeded), align: 'right' },
      { title: 'failed', value: (b) => number(b.failed), align: 'right' },
      { title: 'why', value: (b) => b.why, mayGoUnder: true },
    ],
    'no backfills',
  )
}

const EXAMPLES = `
A backfill can be paused and resumed like a trigger. Its versions are spares: 'millrace approve' releases one.

Examples:
  millrace backfill late-flight --from 2001-01-01 --to 2001-03-01 --every 7d
  millrace backfill list late-flight
  millrace pause late-flight backfill-1 --why "the machine is needed"
  millrace backfill cancel late-flight backfill-1 --why "wrong data"
`
