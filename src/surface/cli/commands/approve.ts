import type { Command } from 'commander'

import type { Cli } from '../cli.ts'

export function defineApprove(program: Command, cli: Cli): void {
  program
    .command('approve <ref>')
    .description('let a version through, whatever the gate said, and have it released')
    .requiredOption('--why <text>', 'the reason, kept for good')
    .addHelpText(
      'after',
      '\nExamples:\n  millrace approve late-flight@7 --why "holiday week, the difference is expected"\n',
    )
    .action(async (ref: string, options: { why: string }) => {
      const { api } = await cli.connect()
      const version = await api.gates.approve({ ref, why: options.why, by: cli.by })
      if (cli.json) return cli.document(version)
      const then = version.release === 'live' ? 'it serves already' : 'its release follows: millrace releases'
      cli.line(`${version.ref} ${cli.status('approved')} by ${cli.by}; ${then}`)
    })
}
