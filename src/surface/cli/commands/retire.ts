import type { Command } from 'commander'

import type { Cli } from '../cli.ts'
import { showRetirements } from './retirement.ts'

export function defineRetire(program: Command, cli: Cli): void {
  program
    .command('retire <ref>')
    .description('take a version out of service; refused while it is in use')
    .requiredOption('--why <text>', 'the reason, kept for good')
    .option('--dry-run', 'only say whether it would be')
    .addHelpText(
      'after',
      '\nExamples:\n  millrace retire late-flight@3 --why "trained on the wrong year"\n  millrace retire late-flight@3 --why "trained on the wrong year" --dry-run\n',
    )
    .action(async (ref: string, options: { why: string; dryRun?: boolean }) => {
      const { api } = await cli.connect()
      const dryRun = options.dryRun === true
      const row = await api.retirement.retire({ ref, why: options.why, dryRun, by: cli.by })
      if (cli.json) return cli.document(row)
      if (dryRun) return cli.line(`nothing holds ${row.version}: it would be retired`)
      showRetirements(cli, [row], true)
    })
}
