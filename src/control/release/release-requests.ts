import type { Transaction } from 'kysely'
import type { Clock } from '../../kernel/clock.ts'
import { appendEvent } from '../../kernel/store/state-machine.ts'
import type { Database } from '../../kernel/store/schema.ts'
import { beginUse } from '../retirement/retirement-requests.ts'
import type { Release } from './release.ts'
import { openReleases } from './release-store.ts'

export interface ReleaseRequest {
  kind: 'release' | 'rollback'
  endpoint: string
  model: string
  versionId: string
  cause: string
  by: string
}

/**
 * Appends a queued release. Older ones still in the queue are superseded when it is looked at. A version that was out
 * of service is revived with it.
 * @returns its id, or that of the release of the same version that is under way on the endpoint already
 * @throws VersionDeletedError where its files are gone
 */
export async function requestRelease(
  tx: Transaction<Database>,
  clock: Clock,
  request: ReleaseRequest,
): Promise<string> {
  const nowMs = clock.epochMs()
  const isSame = (r: Release) =>
    r.versionId === request.versionId && r.endpoint === request.endpoint && r.kind === request.kind
  const same = (await openReleases(tx)).find(isSame)
  if (same !== undefined) return same.id
  await beginUse(tx, clock, { versionId: request.versionId, what: `a ${request.kind}`, by: request.by })
  const { id } = await tx
    .insertInto('release')
    .values({
      kind: request.kind,
      endpoint: request.endpoint,
      model: request.model,
      version_id: request.versionId,
      status: 'queued',
      cause: request.cause,
      requested_by: request.by,
      created_at_ms: nowMs,
      status_at_ms: nowMs,
    })
    .returning('id')
    .executeTakeFirstOrThrow()
  await appendEvent(tx, {
    entity: 'release',
    entityId: id,
    from: null,
    to: 'queued',
    cause: request.cause,
    atMs: nowMs,
    calendarMs: Math.round(clock.calendarMs()),
    detail: { version: request.versionId, endpoint: request.endpoint, kind: request.kind, by: request.by },
  })
  return id
}
