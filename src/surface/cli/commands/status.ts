import type { Command } from 'commander'

import type { Cli } from '../cli.ts'
import { parseDuration } from '../option-values.ts'

export function defineStatus(program: Command, cli: Cli): void {
  program
    .command('status')
    .description('everything at a glance: endpoints, runs, releases, triggers, log, service levels, warnings')
    .option('--watch', 'show it again and again, until Ctrl-C')
    .option('--every <duration>', 'how often', '2s')
    .addHelpText('after', '\nExamples:\n  millrace status\n  millrace status --watch\n  millrace status --json\n')
    .action(async (options: { watch?: boolean; every: string }) => {
      const everyMs = parseDuration('--every', options.every)
      const { api } = await cli.connect()
      const { showStatus, watchStatus } = await import('../show-status.ts')
      if (options.watch === true) return watchStatus(cli, everyMs)
      const status = await api.status.get()
      if (cli.json) return cli.document(status)
      showStatus(cli, status)
    })
}
