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
  let cause = ''
  while (!signal.aborted) {
    try {
      for await (const event of await api.events.watch({ afterSeq: last }, { signal })) {
        last = event.seq
        await banner
        if (!cli.json && !isNotable(event)) continue
        await show(cli, api, event, cause)
        cause = event.cause
      }
    } catch (error) {
      if (signal.aborted) return
      if (!(error instanceof MillraceError) || error.kind !== 'unavailable') throw error
    }
    await sleep(AGAIN_MS)
  }
}

/** @param before - the cause that was told last: of one thing that leads to the next it is often the same, and long */
async function show(cli: Cli, api: ControlApi, event: EventView, before: string): Promise<void> {
  if (cli.json) return cli.record({ type: 'event', ...event })
  cli.text(eventLine(cli, event.cause === before ? { ...event, cause: '' } : event, 'clock'), HANG)
  if (event.entity === 'run' && event.to === 'failed') cli.line(`  millrace logs ${event.entityId}`)
  if (event.entity === 'disposition') for (const line of nextFor(event.entityId, event.to)) cli.line(line)
  if (event.entity === 'release' && event.to === 'released') await announceReleased(cli, api, event.entityId)
}

/** Below what happened, beside the time. */
const HANG = 11
/** Gateways take a new route within milliseconds; what is not so by then is told as it is. */
const ROUTED_MS = 5_000
const LOOK_MS = 100

async function announceReleased(cli: Cli, api: ControlApi, id: string): Promise<void> {
  const endsAtMs = performance.now() + ROUTED_MS
  let release = await api.releases.get({ id })
  while (!release.routed && performance.now() < endsAtMs) {
    await sleep(LOOK_MS)
    release = await api.releases.get({ id })
  }
  const endpoint = (await api.endpoints.list()).find((e) => e.name === release.endpoint)
  if (endpoint !== undefined) await announceEndpoint(cli, api, endpoint)
}

const ALWAYS = new Set(['run', 'gate', 'release', 'revision', 'trigger', 'approval', 'disposition', 'model'])
const WHEN_BAD = /^(failed|error|timedOut|interrupted|rejected)$/

/** Attempts and replicas come and go: only their failures are news. A run that fails names the step that did. */
export function isNotable(event: Pick<EventView, 'entity' | 'to'>): boolean {
  return ALWAYS.has(event.entity) || (WHEN_BAD.test(event.to) && event.entity !== 'step')
}
