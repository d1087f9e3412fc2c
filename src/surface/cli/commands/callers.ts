import type { Command } from 'commander'

import { durationMs } from '../../../config/units.ts'
import type { CallerView, CallerWithKey } from '../../api/caller-schemas.ts'
import type { Cli } from '../cli.ts'
import { UsageError } from '../errors.ts'
import { parseInteger, repeated } from '../option-values.ts'
import { number, time } from '../text.ts'

interface AddFlags {
  endpoint?: string[]
  commonName?: string[]
  concurrency?: string
  key: boolean
}

export function defineCallers(program: Command, cli: Cli): void {
  const callers = program
    .command('callers')
    .description('who may call endpoints: keys, pins, and when each was used last')
    .option('--revoked', 'also those that were revoked')
    .addHelpText('after', EXAMPLES)
    .action(async (options: { revoked?: true }) => {
      const { api } = await cli.connect()
      const list = await api.callers.list({ revoked: options.revoked === true })
      if (cli.json) return cli.document(list)
      showCallers(cli, list)
    })
  defineAdd(callers, cli)
  defineRotate(callers, cli)
  defineRevoke(callers, cli)
}

function defineAdd(callers: Command, cli: Cli): void {
  callers
    .command('add <name>')
    .description('make a caller known; its key is printed once and stored nowhere')
    .option('--endpoint <name>', 'an endpoint that it may call; again for more (default: all)', repeated)
    .option('--common-name <name>', 'of a client certificate that is this caller; again for more', repeated)
    .option('--concurrency <number>', 'requests at once, over all endpoints (default: no limit of its own)')
    .option('--no-key', 'it is known by its certificates alone')
    .action(async (name: string, flags: AddFlags) => {
      if (!flags.key && flags.commonName === undefined)
        throw new UsageError(
          `Nobody could be '${name}' with neither a key nor a certificate.`,
          'Leave out --no-key, or add --common-name <name>.',
        )
      const { api } = await cli.connect()
      const caller = await api.callers.add({
        name,
        endpoints: flags.endpoint ?? null,
        commonNames: flags.commonName ?? [],
        concurrency:
          flags.concurrency === undefined ? null : parseInteger('--concurrency', flags.concurrency, { min: 1 }),
        key: flags.key,
        by: cli.by,
      })
      if (cli.json) return cli.document(caller)
      showKey(cli, caller)
    })
}

function defineRotate(callers: Command, cli: Cli): void {
  callers
    .command('rotate <name>')
    .description('a new key, printed once; the earlier ones end after a while')
    .option('--keep <duration>', 'so long the earlier keys still work; 0s: they end at once', '7d')
    .action(async (name: string, flags: { keep: string }) => {
      const keepMs = durationMs(flags.keep)
      if (keepMs === null)
        throw new UsageError(`--keep must be a duration, not '${flags.keep}'.`, 'Write for example --keep 7d, or 0s.')
      const { api } = await cli.connect()
      const caller = await api.callers.rotate({ name, keepMs, by: cli.by })
      if (cli.json) return cli.document(caller)
      showKey(cli, caller)
      if (caller.othersEndAtMs !== null) cli.note(`its earlier keys end at ${time(caller.othersEndAtMs)}`)
    })
}

function defineRevoke(callers: Command, cli: Cli): void {
  callers
    .command('revoke <name>')
    .description('refuse a caller within a second; its pins end, its name stays taken')
    .requiredOption('--why <text>', 'the reason, kept for good')
    .action(async (name: string, flags: { why: string }) => {
      const { api } = await cli.connect()
      const caller = await api.callers.revoke({ name, why: flags.why, by: cli.by })
      if (cli.json) return cli.document(caller)
      cli.line(`${caller.name} is revoked: ${flags.why}`)
    })
}

/** The key alone on stdout, so that it can be piped to where it is kept. */
function showKey(cli: Cli, caller: CallerWithKey): void {
  if (caller.key === null) return cli.line(`${caller.name} is known by ${caller.commonNames.join(', ')}`)
  cli.note(`${caller.name} calls with 'Authorization: Bearer <key>'. This is its key; it can't be shown again:`)
  cli.line(caller.key)
}

function showCallers(cli: Cli, callers: CallerView[]): void {
  cli.table(
    callers,
    [
      { title: 'caller', value: (c) => c.name },
      { title: 'state', value: (c) => (c.revoked === null ? 'known' : 'revoked'), style: (text) => cli.status(text) },
      { title: 'may call', value: (c) => c.endpoints?.join(', ') ?? 'all' },
      { title: 'keys', value: keysOf, mayGoUnder: true },
      { title: 'requests', value: (c) => number(c.requests), align: 'right' },
      { title: 'last used', value: (c) => time(c.lastUsedMs), spare: true },
      { title: 'pinned to', value: pinsOf, mayGoUnder: true },
    ],
    'no callers: from this machine everybody may call, from others nobody',
  )
}

function keysOf({ keys, commonNames }: CallerView): string {
  const known = keys.map(({ hint, endsAtMs }) => (endsAtMs === null ? hint : `${hint} until ${time(endsAtMs)}`))
  return [...known, ...commonNames.map((name) => `CN=${name}`)].join(', ')
}

const pinsOf = ({ pins }: CallerView) =>
  pins.map((pin) => `${pin.version} on ${pin.endpoint} until ${time(pin.expiresAtMs)}`).join(', ')

const EXAMPLES = `
A caller sends its key as 'Authorization: Bearer <key>', or shows a client certificate with one of its common names.

Examples:
  millrace callers
  millrace callers add booking-site --endpoint late-flight --concurrency 50
  millrace callers rotate booking-site --keep 2d
  millrace callers revoke booking-site --why "the key was in a log"
`
