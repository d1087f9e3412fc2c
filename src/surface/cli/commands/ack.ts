import type { Command } from 'commander'

import type { Cli } from '../cli.ts'

export function defineAck(program: Command, cli: Cli): void {
  program
    .command('ack <alert>')
    .description('say that somebody looks at an alert; it goes on until it is resolved')
    .requiredOption('--why <text>', 'what is done about it, kept with the alert')
    .addHelpText('after', '\nExamples:\n  millrace ack alert-3 --why "the feed of airports is being repaired"\n')
    .action(async (id: string, { why }: { why: string }) => {
      const { api } = await cli.connect()
      const alert = await api.alerts.acknowledge({ id, why, by: cli.by })
      if (cli.json) return cli.document(alert)
      cli.line(`${alert.id} is acknowledged by ${alert.acknowledgedBy ?? cli.by}; it goes on until it is resolved`)
    })
}
