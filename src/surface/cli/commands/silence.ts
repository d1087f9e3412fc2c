import type { Command } from 'commander'

import type { Cli } from '../cli.ts'
import { parseDuration } from '../option-values.ts'
import { time } from '../text.ts'

interface SilenceOptions {
  for: string
  why: string
}

export function defineSilence(program: Command, cli: Cli): void {
  program
    .command('silence <alert>')
    .description('send nothing about an alert for a while; it goes on, and what it does besides telling too')
    .requiredOption('--for <duration>', 'how long, in real time, e.g. 2h')
    .requiredOption('--why <text>', 'the reason, kept with the alert')
    .addHelpText('after', '\nExamples:\n  millrace silence alert-3 --for 2h --why "planned outage of the upstream"\n')
    .action(async (id: string, options: SilenceOptions) => {
      const forMs = parseDuration('--for', options.for)
      const { api } = await cli.connect()
      const alert = await api.alerts.silence({ id, forMs, why: options.why, by: cli.by })
      if (cli.json) return cli.document(alert)
      cli.line(`${alert.id} is silenced until ${time(alert.silencedUntilMs)}`)
    })
}
