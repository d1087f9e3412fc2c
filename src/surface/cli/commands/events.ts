import type { Command } from 'commander'

import type { EventView } from '../../api/event-schemas.ts'
import type { Cli } from '../cli.ts'
import { parseInteger } from '../option-values.ts'
import { eventLine } from '../event-line.ts'

interface EventsOptions {
  after?: string
  entity?: string
  limit: string
  follow?: boolean
}

export function defineEvents(program: Command, cli: Cli): void {
  program
    .command('events')
    .description('what happened and why, oldest first')
    .option('--after <seq>', 'only after this sequence number (unless given: the newest)')
    .option('--entity <kind>', 'only of this kind: run, step, version, gate, release, replica …')
    .option('--limit <number>', 'at most so many', '1000')
    .option('-f, --follow', 'go on with what happens, until Ctrl-C')
    .addHelpText('after', '\nExamples:\n  millrace events --entity release\n  millrace events -f --json\n')
    .action(async (options: EventsOptions) => {
      const { api } = await cli.connect()
      const afterSeq = options.after === undefined ? undefined : parseInteger('--after', options.after, { min: 0 })
      const limit = parseInteger('--limit', options.limit, { min: 1, max: 10_000 })
      const show = (event: EventView) =>
        cli.json && options.follow === true ? cli.record(event) : cli.text(eventLine(cli, event))
      if (options.follow === true) {
        for await (const event of await api.events.watch({ afterSeq: afterSeq ?? 0, entity: options.entity }))
          show(event)
        return
      }
      const events = await api.events.list({ afterSeq, entity: options.entity, limit })
      if (cli.json) return cli.document(events)
      for (const event of events) show(event)
      if (events.length === 0)
        cli.note(`no events${options.entity === undefined ? '' : ` of kind '${options.entity}'`}`)
      if (events.length < limit) return
      if (afterSeq !== undefined) cli.note(`there may be more: --after ${events.at(-1)!.seq}`)
      else cli.note(`these are the newest ${limit}: raise --limit, or begin with --after 0`)
    })
}
