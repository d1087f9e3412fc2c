import type { Command } from 'commander'

import type { Cli } from '../cli.ts'
import { parseDuration, parsePort, parseTime } from '../option-values.ts'

interface UpFlags {
  detach?: boolean
  port?: string
  apiPort: string
  api: boolean
  rehearse?: string
  timeout: string
}

export function defineUp(program: Command, cli: Cli): void {
  program
    .command('up')
    .description('start Millrace with the configuration of this folder; stays in the foreground')
    .option('-d, --detach', 'give the prompt back once it is up')
    .option('--port <port>', "the gateway's port (default: as configured); 0: any that is free")
    .option('--api-port <port>', 'control API on this loopback port, with a token; 0: any that is free', '0')
    .option('--no-api', 'control API on the unix socket only')
    .option('--rehearse <time>', 'begin the calendar at this time, ISO 8601, instead of now')
    .option('--timeout <duration>', 'give up starting after so long', '2m')
    .addHelpText('after', EXAMPLES)
    .action(async (flags: UpFlags) => {
      const options = {
        detach: flags.detach ?? false,
        port: flags.port === undefined ? null : parsePort('--port', flags.port),
        apiPort: flags.api ? parsePort('--api-port', flags.apiPort) : null,
        rehearseMs: flags.rehearse === undefined ? null : parseTime('--rehearse', flags.rehearse),
        timeoutMs: parseDuration('--timeout', flags.timeout),
      }
      const { bringUp } = await import('../bring-up.ts')
      cli.exitCode = await bringUp(cli, options)
    })
}

const EXAMPLES = `
The configuration is checked first: errors end it with 2 before anything is started. Ctrl-C or 'millrace down' stops
everything. State is in PostgreSQL where MILLRACE_DATABASE_URL is set, else embedded in the data directory.

Examples:
  millrace up
  millrace up --detach --port 7080 --api-port 7070
  millrace up --rehearse 2001-02-01 --data-dir /tmp/rehearsal
`
