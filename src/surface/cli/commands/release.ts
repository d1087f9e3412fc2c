import type { Command } from 'commander'

import type { Cli } from '../cli.ts'
import { parseDuration } from '../option-values.ts'

export function defineRelease(program: Command, cli: Cli): void {
  program
    .command('release <ref>')
    .description('release a version that passed the gate or was approved')
    .option('--why <text>', 'the reason, kept with the release', 'by hand')
    .option('--no-wait', 'only start it')
    .option('--timeout <duration>', 'stop following after so long; the release goes on', '1h')
    .addHelpText(
      'after',
      '\nExamples:\n  millrace release late-flight@7\n  millrace release late-flight@7 --why "spare is fresher" --no-wait --json\n',
    )
    .action(async (ref: string, options: { why: string; wait: boolean; timeout: string }) => {
      const timeoutMs = parseDuration('--timeout', options.timeout)
      const { api } = await cli.connect()
      const release = await api.releases.create({ ref, why: options.why, by: cli.by })
      const { followRelease } = await import('../follow-release.ts')
      cli.exitCode = await followRelease(cli, release, options.wait ? timeoutMs : 0)
    })
}
