import type { Command } from 'commander'

import type { Cli } from '../cli.ts'
import { showTriggerDetails } from './triggers.ts'

export function defineResume(program: Command, cli: Cli): void {
  program
    .command('resume <model> [trigger]')
    .description('let paused triggers fire again, without what they missed')
    .option('--catch-up', 'fire once for what was missed during the pause')
    .option('--why <text>', 'the reason, kept in the history')
    .addHelpText('after', EXAMPLES)
    .action(async (model: string, trigger: string | undefined, options: { catchUp?: true; why?: string }) => {
      const { api } = await cli.connect()
      const catchUp = options.catchUp === true
      const list = await api.triggers.resume({ model, trigger, catchUp, why: options.why, by: cli.by })
      if (cli.json) return cli.document(list)
      showTriggerDetails(cli, list)
    })
}

const EXAMPLES = `
A cron trigger whose catchUp is 'last' or 'all' catches up without being asked here.

Examples:
  millrace resume late-flight
  millrace resume late-flight newData-1 --catch-up --why "the export is back"
`
