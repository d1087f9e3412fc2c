import type { Command } from 'commander'

import type { Cli } from '../cli.ts'
import { showTriggerDetails } from './triggers.ts'

export function definePause(program: Command, cli: Cli): void {
  program
    .command('pause <model> [trigger]')
    .description('let a trigger, or every one of the model, fire nothing until it is resumed')
    .requiredOption('--why <text>', 'the reason, shown until it is resumed')
    .addHelpText('after', EXAMPLES)
    .action(async (model: string, trigger: string | undefined, options: { why: string }) => {
      const { api } = await cli.connect()
      const list = await api.triggers.pause({ model, trigger, why: options.why, by: cli.by })
      if (cli.json) return cli.document(list)
      showTriggerDetails(cli, list)
    })
}

const EXAMPLES = `
Examples:
  millrace pause late-flight --why "the export is being rebuilt"
  millrace pause late-flight cron-1 --why "holidays"
`
