import type { Command } from 'commander'

import type { Cli } from '../cli.ts'
import { parseInteger } from '../option-values.ts'

interface LogsOptions {
  step?: string
  attempt?: string
  follow?: boolean
}

export function defineLogs(program: Command, cli: Cli): void {
  program
    .command('logs <run>')
    .description("a run's output; what the trainer wrote on stderr goes to stderr")
    .option('-f, --follow', 'until the run ends')
    .option('--step <name>', 'only this step')
    .option('--attempt <number>', 'only this attempt (default: the last)')
    .addHelpText('after', EXAMPLES)
    .action(async (id: string, options: LogsOptions) => {
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
`
