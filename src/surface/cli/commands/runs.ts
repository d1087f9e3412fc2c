import type { Command } from 'commander'

import type { RunSummary, RunView } from '../../api/run-schemas.ts'
import type { Cli } from '../cli.ts'
import { parseInteger } from '../option-values.ts'
import { ago, duration, figures, plainText, time } from '../text.ts'

export function defineRuns(program: Command, cli: Cli): void {
  const runs = program.command('runs').description('list runs, show or cancel one').addHelpText('after', EXAMPLES)
  runs
    .command('list [model]', { isDefault: true })
    .description('runs, newest first')
    .option('--limit <number>', 'at most so many', '20')
    .action(async (model: string | undefined, options: { limit: string }) => {
      const { api } = await cli.connect()
      const list = await api.runs.list({ model, limit: parseInteger('--limit', options.limit, { min: 1, max: 1_000 }) })
      if (cli.json) return cli.document(list)
      showList(cli, list)
    })
  runs
    .command('show <id>')
    .description('one run: steps, attempts, and what became of its model')
    .action(async (id: string) => {
      const { api } = await cli.connect()
      const run = await api.runs.get({ id })
      if (cli.json) return cli.document(run)
      showRun(cli, run)
    })
  runs
    .command('cancel <id>')
    .description('stop a run with its whole process tree')
    .option('--why <text>', 'the reason, kept with the run')
    .action(async (id: string, options: { why?: string }) => {
      const { api } = await cli.connect()
      const run = await api.runs.cancel({ id, why: options.why, by: cli.by })
      if (cli.json) return cli.document(run)
      cli.line(`${run.id}: ${run.status === 'cancelled' ? 'cancelled' : 'is being stopped'}`)
    })
}

/** As `runs` and `status` print them. */
export function showList(cli: Cli, list: RunSummary[]): void {
  const nowMs = Date.now()
  cli.table(
    list,
    [
      { title: 'run', value: (r) => r.id },
      { title: 'model', value: (r) => r.model },
      { title: 'status', value: (r) => r.status, style: (text) => cli.status(text) },
      { title: 'created', value: (r) => ago(r.createdAtMs, nowMs) },
      { title: 'took', value: (r) => took(r.startedAtMs, r.endedAtMs), align: 'right' },
      { title: 'outcome', value: outcomeOf },
      { title: 'why', value: (r) => r.why ?? r.cause, mayGoUnder: true },
    ],
    'no runs',
  )
}

function outcomeOf({ outcome }: RunSummary): string {
  if (outcome.version === null) return '–'
  return [outcome.version, outcome.status, outcome.releaseStatus].filter((part) => part !== null).join(', ')
}

const took = (startedAtMs: number | null, endedAtMs: number | null) =>
  startedAtMs === null || endedAtMs === null ? '–' : duration(endedAtMs - startedAtMs)

function showRun(cli: Cli, run: RunView): void {
  cli.text(
    `${cli.style('bold', run.id)}  ${run.model}  ${cli.status(run.status)}${run.why === null ? '' : `  ${plainText(run.why)}`}`,
  )
  cli.text(`started by ${plainText(run.cause)}, revision ${run.revision}, as of ${time(run.asOfMs)}, seed ${run.seed}`)
  if (Object.keys(run.params).length > 0) cli.text(`params: ${figures(run.params)}`)
  const attempts = run.steps.flatMap((step) => step.attempts.map((attempt) => ({ step, attempt })))
  cli.table(
    attempts,
    [
      { title: 'step', value: (a) => a.step.name },
      { title: 'attempt', value: (a) => String(a.attempt.attempt), align: 'right' },
      { title: 'status', value: (a) => a.attempt.status, style: (text) => cli.status(text) },
      { title: 'exit', value: (a) => String(a.attempt.exitCode ?? '–'), align: 'right' },
      { title: 'started', value: (a) => time(a.attempt.startedAtMs) },
      { title: 'took', value: (a) => took(a.attempt.startedAtMs, a.attempt.endedAtMs), align: 'right' },
      // What a step that succeeded has to say is a warning.
      {
        title: 'why',
        value: ({ step, attempt }) =>
          attempt.why ?? (/^(succeeded|starting)$/.test(attempt.status) ? step.why : null) ?? '',
        mayGoUnder: true,
      },
    ],
    'no attempts yet',
  )
  for (const step of run.steps.filter((s) => s.attempts.length === 0))
    cli.text(`${step.name}: ${step.status}${step.why === null ? '' : `: ${step.why}`}`)
  const { version, why } = run.outcome
  if (version !== null || why !== run.why) cli.text(`outcome: ${outcomeOf(run)}${why === null ? '' : `: ${why}`}`)
  if (run.status === 'failed') cli.line(`  millrace logs ${run.id}`)
}

const EXAMPLES = `
Examples:
  millrace runs
  millrace runs list late-flight --limit 5 --json
  millrace runs show run-12
  millrace runs cancel run-12 --why "wrong data"
`
