import type { Command } from 'commander'

import type { Cli } from '../cli.ts'
import { UsageError } from '../errors.ts'
import { parseTime } from '../option-values.ts'
import { durationMs } from '../../../config/units.ts'
import { showRetirements } from './retirement.ts'

export function defineKeep(program: Command, cli: Cli): void {
  program
    .command('keep <ref>')
    .description('protect a version from retirement, for good or until a time (calendar)')
    .requiredOption('--why <text>', 'the reason, kept for good')
    .option('--until <time>', 'ISO 8601, or a duration from now; 0s ends an earlier protection')
    .addHelpText(
      'after',
      '\nExamples:\n  millrace keep late-flight@3 --why "the yearly audit"\n  millrace keep late-flight@3 --why "the yearly audit" --until 30d\n  millrace keep late-flight@3 --why "the audit is over" --until 0s\n',
    )
    .action(async (ref: string, options: { why: string; until?: string }) => {
      const { api } = await cli.connect()
      const untilMs =
        options.until === undefined
          ? null
          : await untilTime(options.until, async () => (await api.clock.get()).calendarMs)
      const row = await api.retirement.keep({ ref, why: options.why, untilMs, by: cli.by })
      if (cli.json) return cli.document(row)
      showRetirements(cli, [row], true)
    })
}

async function untilTime(text: string, nowMs: () => Promise<number>): Promise<number> {
  const ms = durationMs(text)
  if (ms !== null) return (await nowMs()) + ms
  const untilMs = parseKeepTime(text)
  if (untilMs > (await nowMs())) return untilMs
  throw new UsageError(
    `--until ${text} is over already, by the calendar: that would protect nothing.`,
    'Give a later time; --until 0s ends an earlier protection.',
  )
}

function parseKeepTime(text: string): number {
  try {
    return parseTime('--until', text)
  } catch {
    throw new UsageError(
      `--until must be a duration, or a time with its zone, not '${text}'.`,
      'Write for example --until 30d, or --until 2001-03-01 for midnight UTC.',
    )
  }
}
