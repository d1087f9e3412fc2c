import { findModel } from '../../../control/control-context.ts'
import { findVersion } from '../../../control/registry/version-store.ts'
import { routeOf } from '../../../control/release/release-store.ts'
import type { Release } from '../../../control/release/release.ts'
import type { ReleaseView } from '../release-schemas.ts'
import type { Services } from './services.ts'

export async function releaseView(services: Services, release: Release): Promise<ReleaseView> {
  const { db } = services.context.store
  const version = await findVersion(db, release.versionId)
  const first = release.firstAnswerAtMs
  return {
    id: release.id,
    kind: release.kind,
    version: release.versionId,
    endpoint: release.endpoint,
    previous: release.previousId,
    status: release.status,
    routed: await isRouted(services, release),
    why: release.why,
    cause: release.cause,
    strategy: strategyOf(services, release),
    createdAtMs: release.createdAtMs,
    endedAtMs: release.endedAtMs,
    firstAnswerAtMs: first,
    leadTimeMs:
      release.kind === 'rollback' || first === null || version === null || version.runId === null
        ? null
        : first - version.trainedAtMs,
    steps: await stepsOfRelease(services, release),
  }
}

/** A route is flipped in one write; gateways take it some milliseconds later. */
export async function isRouted({ context, observations, publisher }: Services, release: Release): Promise<boolean> {
  if (release.status !== 'released') return false
  const members = (await routeOf(context.store.db, release.endpoint))?.members ?? []
  return observations.gateways().every((gateway) => publisher.isTaken(release.endpoint, members, gateway))
}

function strategyOf({ context }: Services, { kind, model }: Release): string {
  return kind === 'rollback' ? 'immediate' : (findModel(context.project(), model)?.release.strategy ?? 'immediate')
}

const stepNames: Record<string, string> = {
  queued: 'wait',
  deploying: 'deploy',
  preflight: 'preflight',
  switching: 'switch',
  shadowing: 'shadow',
  canary: 'canary',
  held: 'held',
  released: 'released',
}

/** Each status it went through, from its events. */
async function stepsOfRelease({ context }: Services, release: Release): Promise<ReleaseView['steps']> {
  const events = await context.store.db
    .selectFrom('event')
    .selectAll()
    .where('entity', '=', 'release')
    .where('entity_id', '=', release.id)
    .orderBy('id')
    .execute()
  return events
    .map((event, i) => ({ event, next: events[i + 1] }))
    .filter(({ event }) => event.to_status in stepNames && event.to_status !== 'released')
    .map(({ event, next }) => ({
      name: stepNames[event.to_status]!,
      status:
        next === undefined
          ? ('running' as const)
          : next.to_status === 'failed' || (next.to_status === 'rolled-back' && event.to_status !== 'released')
            ? ('failed' as const)
            : ('done' as const),
      why: next?.cause ?? null,
      startedAtMs: event.at_ms,
      endedAtMs: next?.at_ms ?? null,
    }))
}
