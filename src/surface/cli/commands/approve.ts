import type { Command } from 'commander'

import type { Cli } from '../cli.ts'

export function defineApprove(program: Command, cli: Cli): void {
  program
    .command('approve <ref>')
    .description('let a version through although the gate did not, or where it may not decide')
    .requiredOption('--why <text>', 'the reason, kept for good')
    .addHelpText(
      'after',
      '\nExamples:\n  millrace approve late-flight@7 --why "holiday week, the difference is expected"\n',
    )
    .action(async (ref: string, options: { why: string }) => {
      const { api } = await cli.connect()
      const version = await api.gates.approve({ ref, why: options.why, by: cli.by })
      if (cli.json) return cli.document(version)
      cli.line(`${version.ref} ${cli.status('approved')} by ${cli.by}; release: ${version.release}`)
    })
}
