import type { Command } from 'commander'

import type { Cli } from '../cli.ts'
import { showRetirements } from './retirement.ts'

export function defineRevive(program: Command, cli: Cli): void {
  program
    .command('revive <ref>')
    .description('bring back a version that is out of service and not deleted')
    .option('--why <text>', 'the reason, kept for good', 'by hand')
    .addHelpText('after', '\nExamples:\n  millrace revive late-flight@3 --why "to compare with"\n')
    .action(async (ref: string, options: { why: string }) => {
      const { api } = await cli.connect()
      const row = await api.retirement.revive({ ref, why: options.why, by: cli.by })
      if (cli.json) return cli.document(row)
      showRetirements(cli, [row], true)
    })
}
