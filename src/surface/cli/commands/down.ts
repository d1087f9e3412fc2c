import type { Command } from 'commander'

import type { Cli } from '../cli.ts'
import { parseDuration } from '../option-values.ts'

export function defineDown(program: Command, cli: Cli): void {
  program
    .command('down')
    .description('stop everything that runs for this data directory, also what a crash left behind')
    .option('--timeout <duration>', 'let requests and steps finish for so long, then stop them hard', '30s')
    .addHelpText(
      'after',
      "\nRuns that are stopped go on with the next 'millrace up'.\n\nExamples:\n  millrace down\n  millrace down --data-dir /tmp/rehearsal --json\n",
    )
    .action(async (options: { timeout: string }) => {
      const timeoutMs = parseDuration('--timeout', options.timeout)
      const { takeDown } = await import('../take-down.ts')
      cli.exitCode = await takeDown(cli, timeoutMs)
    })
}
