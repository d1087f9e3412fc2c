import { randomUUID } from 'node:crypto'
import type { Version } from '../control/registry/version.ts'
import { createImportedVersion, setDisposition, setSignature } from '../control/registry/version-requests.ts'
import { findVersion } from '../control/registry/version-store.ts'
import { flipRoute } from '../control/release/flip-route.ts'
import { requestRelease } from '../control/release/release-requests.ts'
import { findRelease } from '../control/release/release-store.ts'
import { plainSignature } from './control-builders.ts'
import type { ControlLab } from './control-lab.ts'

/** Versions and releases of a lab without processes: rows as the controllers leave them. */

/** A version about which has been decided, with content of its own. @returns its id */
export async function decidedVersion(
  { context }: ControlLab,
  model: string,
  facts: Partial<{
    content: string
    status: Version['status']
    codeDigest: string
    backfilled: boolean
    disposition: Version['disposition']
  }> = {},
): Promise<string> {
  const { store, clock, artifacts } = context
  const content = facts.content ?? `${model} ${clock.epochMs()} ${randomUUID()}`
  const { digest, sizeBytes } = await artifacts.putBytes(Buffer.from(content))
  const { revisionId } = context.project()!
  const made = { model, revisionId, modelDigest: digest, sizeBytes, importedFrom: '/m.onnx', cause: 'test' }
  return store.transaction(async (tx) => {
    const id = await createImportedVersion(tx, clock, made)
    await setSignature(tx, id, { signature: plainSignature, scoreOutput: null })
    const disposition = facts.disposition === undefined ? 'spare' : facts.disposition
    if (disposition !== null) await setDisposition(tx, clock, id, disposition, 'test')
    const codeDigest = facts.codeDigest ?? null
    const { lineage: imported } = (await findVersion(tx, id))!
    const lineage = { ...imported, codeDigest, ...(facts.backfilled === true ? { backfilled: true } : {}) }
    await tx
      .updateTable('version')
      .set({ status: facts.status ?? 'passed', lineage: JSON.stringify(lineage) })
      .where('id', '=', id)
      .execute()
    return id
  })
}

/** A release of a version whose deployment is ready, up to just before its flip. @returns its id */
export async function readyRelease(
  { context }: ControlLab,
  model: string,
  versionId: string,
  kind: 'release' | 'rollback' = 'release',
): Promise<string> {
  const { store, clock } = context
  return store.transaction(async (tx) => {
    const id = await requestRelease(tx, clock, { kind, endpoint: model, model, versionId, cause: kind, by: 'ann' })
    const warm = await tx
      .selectFrom('deployment')
      .select('id')
      .where('version_id', '=', versionId)
      .where('status', '=', 'ready')
      .executeTakeFirst()
    const deployment =
      warm ??
      (await tx
        .insertInto('deployment')
        .values({
          endpoint: model,
          model,
          version_id: versionId,
          status: 'ready',
          replicas_wanted: 1,
          discoverable: true,
          created_at_ms: clock.epochMs(),
        })
        .returning('id')
        .executeTakeFirstOrThrow())
    await tx
      .updateTable('release')
      .set({ status: 'switching', deployment_id: deployment.id })
      .where('id', '=', id)
      .where('status', '=', 'queued')
      .execute()
    return id
  })
}

/** @returns false where it has moved on */
export async function flip({ context }: ControlLab, releaseId: string): Promise<boolean> {
  const { store, clock } = context
  const release = await findRelease(store.db, releaseId)
  if (release.status !== 'switching') return false
  return store.transaction((tx) => flipRoute(tx, clock, release, 'ready'))
}

/** @returns the release's id */
export async function promote(
  lab: ControlLab,
  model: string,
  versionId: string,
  kind: 'release' | 'rollback' = 'release',
): Promise<string> {
  const id = await readyRelease(lab, model, versionId, kind)
  await flip(lab, id)
  return id
}

/** m@2 in its canary against m@1, as trial-1 of release-1; rows only, nothing is deployed. */
export async function trialUnderWay(lab: ControlLab, look?: { elapsedMs: number }): Promise<void> {
  const { db } = lab.context.store
  const [champion, challenger] = [await lab.version('m'), await lab.version('m')]
  const about = { endpoint: 'm', model: 'm', cause: 'test', requested_by: 'ann', created_at_ms: 0, status_at_ms: 0 }
  await db
    .insertInto('release')
    .values({ ...about, kind: 'release', version_id: challenger, status: 'canary' })
    .execute()
  await db
    .insertInto('trial')
    .values({
      release_id: 'release-1',
      endpoint: 'm',
      kind: 'canary',
      step: 1,
      weight_percent: 10,
      status: 'running',
      ...(look === undefined ? {} : { look: JSON.stringify(look) }),
      challenger_id: challenger,
      champion_id: champion,
      started_at_ms: 0,
      started_calendar_ms: 0,
    })
    .execute()
}
