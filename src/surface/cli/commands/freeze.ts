import type { Command } from 'commander'

import type { FreezeView } from '../../api/retirement-schemas.ts'
import type { Cli } from '../cli.ts'
import { time } from '../text.ts'

export function defineFreeze(program: Command, cli: Cli): void {
  program
    .command('freeze <model>')
    .description('release nothing of a model by itself; what a person approves is released all the same')
    .requiredOption('--why <text>', 'the reason, kept for good')
    .addHelpText('after', '\nExamples:\n  millrace freeze late-flight --why "the schedule changes on Sunday"\n')
    .action(async (model: string, options: { why: string }) => {
      const { api } = await cli.connect()
      const freeze = await api.freezes.create({ model, why: options.why, by: cli.by })
      if (cli.json) return cli.document(freeze)
      showFreeze(cli, freeze)
    })
}

export function showFreeze(cli: Cli, freeze: FreezeView): void {
  const state = freeze.status === 'active' ? cli.style('yellow', 'frozen') : 'no longer frozen'
  cli.line(`${freeze.model} ${state} by ${freeze.id} (${freeze.kind}) since ${time(freeze.createdAtMs)}: ${freeze.why}`)
  if (freeze.status === 'active') cli.line(`ends by ${freeze.unfreezes}`)
  else cli.line(`ended by ${freeze.endedWhy ?? '–'}`)
}
