import type { Command } from 'commander'

import type { Cli } from '../cli.ts'

export function defineUnpin(program: Command, cli: Cli): void {
  program
    .command('unpin <caller> <endpoint>')
    .description('let a caller be served as others are, within a second')
    .addHelpText('after', '\nExamples:\n  millrace unpin booking-site late-flight\n')
    .action(async (caller: string, endpoint: string) => {
      const { api } = await cli.connect()
      const view = await api.callers.unpin({ caller, endpoint, by: cli.by })
      if (cli.json) return cli.document(view)
      cli.line(`${view.name} is no longer pinned on ${endpoint}`)
    })
}
