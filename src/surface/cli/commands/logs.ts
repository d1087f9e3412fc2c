import type { Command } from 'commander'

import type { Cli } from '../cli.ts'
import { UsageError } from '../errors.ts'
import { parseInteger } from '../option-values.ts'

interface LogsOptions {
  step?: string
  attempt?: string
  follow?: boolean
  process?: string
}

export function defineLogs(program: Command, cli: Cli): void {
  program
    .command('logs [run]')
    .description("a run's output, or the log of one of Millrace's own processes")
    .option('-f, --follow', 'go on until the run ends; for a process, until Ctrl-C')
    .option('--step <name>', 'only this step')
    .option('--attempt <number>', 'only this attempt (default: the last)')
    .option(
      '--process <id>',
      'the end of the log of control-plane, gateway, replica-9, … instead; works also when nothing runs',
    )
    .addHelpText('after', EXAMPLES)
    .action(async (id: string | undefined, options: LogsOptions) => {
      if ((id === undefined) === (options.process === undefined))
        throw new UsageError(
          'Name either a run or a --process.',
          'Write for example millrace logs run-12, or millrace logs --process gateway.',
        )
      if (options.process !== undefined) {
        const { showProcessLog } = await import('../process-log.ts')
        return showProcessLog(cli.dataDir(), options.process, options.follow ?? false)
      }
      if (id === undefined) return
      const { api } = await cli.connect()
      const attempt = options.attempt === undefined ? undefined : parseInteger('--attempt', options.attempt, { min: 1 })
      const chunks = await api.runs.logs({ id, step: options.step, attempt, follow: options.follow ?? false })
      for await (const chunk of chunks) {
        if (cli.json) cli.record(chunk)
        else await written(chunk.stream === 'stderr' ? process.stderr : process.stdout, chunk.text)
      }
    })
}

/** Waits for a slow reader, so that a long log is not held in memory. */
function written(stream: NodeJS.WriteStream, text: string): Promise<void> {
  return new Promise((resolve) => (stream.write(text) ? resolve() : stream.once('drain', resolve)))
}

const EXAMPLES = `
Examples:
  millrace logs run-12
  millrace logs run-12 --step train --attempt 1
  millrace logs run-12 -f --json
  millrace logs --process control-plane
`
