import type { Command } from 'commander'

import type { Cli } from '../cli.ts'

export function defineReject(program: Command, cli: Cli): void {
  program
    .command('reject <ref>')
    .description('refuse a version, also one that passed')
    .requiredOption('--why <text>', 'the reason, kept for good')
    .addHelpText('after', '\nExamples:\n  millrace reject late-flight@7 --why "trained on the broken export"\n')
    .action(async (ref: string, options: { why: string }) => {
      const { api } = await cli.connect()
      const version = await api.gates.reject({ ref, why: options.why, by: cli.by })
      if (cli.json) return cli.document(version)
      cli.line(`${version.ref} ${cli.status('rejected')} by ${cli.by}`)
    })
}
