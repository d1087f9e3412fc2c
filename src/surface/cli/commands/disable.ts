import type { Command } from 'commander'

import type { Cli } from '../cli.ts'
import { plainText } from '../text.ts'

export function defineDisable(program: Command, cli: Cli): void {
  program
    .command('disable <endpoint>')
    .description('answer every request by the fallback, within a second')
    .requiredOption('--why <text>', 'the reason, kept for good')
    .addHelpText(
      'after',
      '\nExamples:\n  millrace disable late-flight --why "answers are wrong since the feed changed"\n',
    )
    .action(async (endpoint: string, options: { why: string }) => {
      const { api } = await cli.connect()
      const view = await api.endpoints.disable({ endpoint, why: options.why, by: cli.by })
      if (cli.json) return cli.document(view)
      cli.text(`${view.name} ${view.why === null ? cli.status(view.state) : plainText(view.why)}`)
    })
}
