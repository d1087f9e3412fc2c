import type { Command } from 'commander'

import type { Cli } from '../cli.ts'
import { parseDuration } from '../option-values.ts'
import { time } from '../text.ts'

export function definePin(program: Command, cli: Cli): void {
  program
    .command('pin <caller> <endpoint> <ref>')
    .description('keep a caller on a version of an endpoint for a while; the same again renews it')
    .option('--for <duration>', 'it ends after so long unless it is renewed', '30d')
    .option('--why <text>', 'the reason, kept with it')
    .addHelpText('after', EXAMPLES)
    .action(async (caller: string, endpoint: string, ref: string, flags: { for: string; why?: string }) => {
      const forMs = parseDuration('--for', flags.for)
      const { api } = await cli.connect()
      const pin = await api.callers.pin({ caller, endpoint, ref, forMs, why: flags.why ?? null, by: cli.by })
      if (cli.json) return cli.document(pin)
      cli.line(`${pin.caller} is pinned to ${pin.version} on ${pin.endpoint} until ${time(pin.expiresAtMs)}`)
    })
}

const EXAMPLES = `
The version stays deployed and is not retired as long as somebody is pinned to it.

Examples:
  millrace pin booking-site late-flight late-flight@3
  millrace pin booking-site late-flight late-flight@previous --for 7d --why "until their thresholds fit"
`
