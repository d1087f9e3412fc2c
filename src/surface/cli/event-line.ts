import type { EventView } from '../api/event-schemas.ts'
import type { Cli } from './cli.ts'
import { plainText, time } from './text.ts'

/**
 * `2001-02-05 12:00:03Z  run-12  running → succeeded  all steps succeeded`
 * @param shown - `clock`: without the day, for events that are told as they happen
 */
export function eventLine(cli: Cli, event: EventView, shown: 'day' | 'clock' = 'day'): string {
  const at = shown === 'day' ? time(event.atMs) : time(event.atMs).slice(11)
  const change = event.from === null ? cli.status(event.to) : `${event.from} → ${cli.status(event.to)}`
  return `${cli.style('dim', at)}  ${plainText(nameOf(event))}  ${change}  ${plainText(event.cause)}`.trimEnd()
}

/** A verdict is known by its version. */
function nameOf({ entity, entityId, detail }: EventView): string {
  const version = detail?.['version']
  return entity === 'gate' && typeof version === 'string' ? `gate of ${version}` : entityId
}
