import type { Command } from 'commander'

import type { Cli } from '../cli.ts'

export function defineMetrics(program: Command, cli: Cli): void {
  program
    .command('metrics')
    .description('the metrics of one process as they are now, in the form that Prometheus reads')
    .option('--process <id>', 'of this one: gateway, replica-9, … (default: the control plane)')
    .addHelpText('after', EXAMPLES)
    .action(async ({ process: id }: { process?: string }) => {
      const { api } = await cli.connect()
      const metrics = await api.metrics.get({ process: id })
      if (cli.json) return cli.document(metrics)
      process.stdout.write(metrics.text)
    })
}

const EXAMPLES = `
What each of them means is in docs/reference/metrics.md, how Prometheus collects them in docs/guides/observability.md.

Examples:
  millrace metrics
  millrace metrics --process gateway
  millrace metrics --process replica-9
`
