import type { Command } from 'commander'

import type { Cli } from '../cli.ts'
import { showFreeze } from './freeze.ts'

export function defineUnfreeze(program: Command, cli: Cli): void {
  program
    .command('unfreeze <model>')
    .description('end every freeze of a model; versions that waited for it are decided anew')
    .requiredOption('--why <text>', 'the reason, kept for good')
    .addHelpText('after', '\nExamples:\n  millrace unfreeze late-flight --why "the fault was in the upstream feed"\n')
    .action(async (model: string, options: { why: string }) => {
      const { api } = await cli.connect()
      const ended = await api.freezes.end({ model, why: options.why, by: cli.by })
      if (cli.json) return cli.document(ended)
      for (const freeze of ended) showFreeze(cli, freeze)
    })
}
