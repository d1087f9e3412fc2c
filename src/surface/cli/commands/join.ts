import type { Command } from 'commander'

import type { Cli } from '../cli.ts'

export function defineJoin(program: Command, cli: Cli): void {
  program
    .command('join <endpoint> <version>')
    .description('let a version that could not join an endpoint of several try again; needs --why')
    .requiredOption('--why <text>', 'the reason, kept with the event')
    .addHelpText('after', EXAMPLES)
    .action(async (endpoint: string, version: string, options: { why: string }) => {
      const { api } = await cli.connect()
      const view = await api.endpoints.join({ endpoint, ref: version, why: options.why, by: cli.by })
      if (cli.json) return cli.document(view)
      const member = view.gather?.members.find((m) => m.version === version)
      cli.line(`${view.name}: ${version} ${cli.status(member?.state ?? 'joining')}`)
    })
}

const EXAMPLES = `
Copies of the endpoint's requests count anew; 'millrace endpoints' shows how many it has answered.

Examples:
  millrace join second-opinion late-flight@4 --why "its replica had no memory, which is mended"
`
