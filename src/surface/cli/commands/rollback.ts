import type { Command } from 'commander'

import type { Cli } from '../cli.ts'
import { parseDuration } from '../option-values.ts'

interface RollbackOptions {
  to?: string
  why: string
  wait: boolean
  timeout: string
}

export function defineRollback(program: Command, cli: Cli): void {
  program
    .command('rollback <endpoint>')
    .description('give the traffic back to the version before, or to one that is named')
    .option('--to <ref>', 'this version (default: the one before)')
    .option('--why <text>', 'the reason, kept with the rollback', 'by hand')
    .option('--no-wait', 'only start it')
    .option('--timeout <duration>', 'stop following after so long; the rollback goes on', '15m')
    .addHelpText(
      'after',
      '\nExamples:\n  millrace rollback late-flight --why "complaints from the desk"\n  millrace rollback late-flight --to late-flight@5\n',
    )
    .action(async (endpoint: string, options: RollbackOptions) => {
      const timeoutMs = parseDuration('--timeout', options.timeout)
      const { api } = await cli.connect()
      const release = await api.releases.rollback({ endpoint, to: options.to, why: options.why, by: cli.by })
      const { followRelease } = await import('../follow-release.ts')
      cli.exitCode = await followRelease(cli, release, options.wait ? timeoutMs : 0)
    })
}
