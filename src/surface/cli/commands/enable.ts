import type { Command } from 'commander'

import type { Cli } from '../cli.ts'

export function defineEnable(program: Command, cli: Cli): void {
  program
    .command('enable <endpoint>')
    .description('put a disabled endpoint into service again')
    .addHelpText('after', '\nExamples:\n  millrace enable late-flight\n')
    .action(async (endpoint: string) => {
      const { api } = await cli.connect()
      const view = await api.endpoints.enable({ endpoint, by: cli.by })
      if (cli.json) return cli.document(view)
      cli.line(`${view.name} ${cli.status(view.state)}${view.why === null ? '' : `: ${view.why}`}`)
    })
}
