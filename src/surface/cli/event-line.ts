import type { EventView } from '../api/event-schemas.ts'
import type { Cli } from './cli.ts'
import { plainText, time } from './text.ts'

/** `12:00:03Z  run-12  running → succeeded  all steps succeeded` */
export function eventLine(cli: Cli, event: EventView): string {
  const clock = time(event.atMs).slice(11)
  const change = event.from === null ? cli.status(event.to) : `${event.from} → ${cli.status(event.to)}`
  return `${cli.style('dim', clock)}  ${plainText(event.entityId)}  ${change}  ${plainText(event.cause)}`
}
