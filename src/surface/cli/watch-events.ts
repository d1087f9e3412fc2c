import { setTimeout as sleep } from 'node:timers/promises'

import { MillraceError } from '../../kernel/errors.ts'
import type { EventView } from '../api/event-schemas.ts'
import { connectControlPlane, type ControlApi } from '../client/control-plane.ts'
import { announceEndpoint } from './announce-up.ts'
import type { Cli } from './cli.ts'
import { eventLine } from './event-line.ts'
import { nextFor } from './next-step.ts'

const AGAIN_MS = 500

/**
 * One line per event that people want to know of, from now until `signal`; goes on after a restart of the control plane.
 * @param banner - nothing is printed before it is settled
 */
export async function watchEvents(
  cli: Cli,
  dataDir: string,
  banner: Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const { api } = connectControlPlane({ dataDir })
  let last: number | undefined
  while (!signal.aborted) {
    try {
      for await (const event of await api.events.watch({ afterSeq: last }, { signal })) {
        last = event.seq
        await banner
        await show(cli, api, event)
      }
    } catch (error) {
      if (signal.aborted) return
      if (!(error instanceof MillraceError) || error.kind !== 'unavailable') throw error
    }
    await sleep(AGAIN_MS)
  }
}

async function show(cli: Cli, api: ControlApi, event: EventView): Promise<void> {
  if (cli.json) return cli.record({ type: 'event', ...event })
  if (!isNotable(event)) return
  cli.line(eventLine(cli, event))
  if (event.entity === 'disposition') for (const line of nextFor(event.entityId, event.to)) cli.line(line)
  if (event.entity !== 'release' || event.to !== 'released') return
  const release = await api.releases.get({ id: event.entityId })
  const endpoint = (await api.endpoints.list()).find((e) => e.name === release.endpoint)
  if (endpoint !== undefined) await announceEndpoint(cli, api, endpoint)
}

const ALWAYS = new Set(['run', 'gate', 'release', 'revision', 'trigger', 'approval', 'disposition', 'model'])
const WHEN_BAD = /^(failed|error|timedOut|interrupted|rejected)$/

/** Steps, attempts and replicas come and go: only their failures are news. */
export function isNotable(event: Pick<EventView, 'entity' | 'to'>): boolean {
  return ALWAYS.has(event.entity) || WHEN_BAD.test(event.to)
}
