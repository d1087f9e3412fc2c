import type { Command } from 'commander'

import type { Cli } from '../cli.ts'
import { parseDuration, parseInteger, parseParams, parseTime, repeated } from '../option-values.ts'

interface TrainOptions {
  param?: string[]
  seed?: string
  asOf?: string
  why?: string
  wait: boolean
  timeout: string
}

export function defineTrain(program: Command, cli: Cli): void {
  program
    .command('train <model>')
    .description('train a model now, and follow it: run, evaluation, gate, release')
    .option('--param <name=value>', 'override a parameter; may be repeated', repeated)
    .option('--seed <number>', 'seed of this run (default: as configured)')
    .option('--as-of <time>', 'train as of this time, ISO 8601 (default: now, by the calendar)')
    .option('--why <text>', 'the reason, kept with the run')
    .option('--no-wait', 'only start it')
    .option('--timeout <duration>', 'stop following after so long; the run goes on', '24h')
    .addHelpText('after', EXAMPLES)
    .action(async (model: string, options: TrainOptions) => {
      const timeoutMs = parseDuration('--timeout', options.timeout)
      const { api } = await cli.connect()
      const run = await api.runs.start({
        model,
        params: parseParams(options.param ?? []),
        seed: options.seed === undefined ? undefined : parseInteger('--seed', options.seed),
        asOfMs: options.asOf === undefined ? undefined : parseTime('--as-of', options.asOf),
        why: options.why,
        by: cli.by,
      })
      if (!options.wait) return cli.json ? cli.document(run) : cli.line(run.id)
      const { followRun } = await import('../follow-run.ts')
      cli.exitCode = await followRun(cli, run.id, timeoutMs)
    })
}

const EXAMPLES = `
Ends with 0 if a version came out and was released or kept as a spare, 1 if the run, the gate or the release
failed, 8 if the version waits for a person. Ctrl-C stops following, not the run ('millrace runs cancel' does).

Examples:
  millrace train late-flight
  millrace train late-flight --param depth=6 --param rounds=80 --seed 7
  millrace train late-flight --as-of 2001-03-01T00:00:00Z --no-wait --json
`
