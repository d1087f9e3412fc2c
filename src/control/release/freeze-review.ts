import type { Kysely, Transaction } from 'kysely'
import type { Database } from '../../kernel/store/schema.ts'
import type { ControlContext } from '../control-context.ts'
import { latestRevision } from '../project/revision-store.ts'
import { findVersion, listVersions } from '../registry/version-store.ts'
import { configDigest, endOfRollbackFreeze, MILLRACE, type Freeze } from './freeze.ts'
import { endFreeze, requestFreeze } from './freeze-requests.ts'
import { activeFreezes, versionsSince } from './freeze-store.ts'
import type { Release } from './release.ts'
import type { Clock } from '../../kernel/clock.ts'

/** At most so many of a model's newest versions are looked at for a change of code. */
const NEWEST_MAX = 50

/** Ends what a change of code or configuration has ended. @returns what is still active, of every model */
export async function reviewFreezes({ store, clock }: ControlContext): Promise<Freeze[]> {
  const active = await activeFreezes(store.db)
  if (!active.some((f) => f.kind === 'rollback')) return active
  for (const freeze of active.filter((f) => f.kind === 'rollback')) {
    const why = await whyItEnds(store.db, freeze)
    if (why !== null) await store.transaction((tx) => endFreeze(tx, clock, { id: freeze.id, by: MILLRACE, why }))
  }
  return activeFreezes(store.db)
}

/** A rollback from one version to another: until code or configuration change, the same would only come again. */
export async function freezeAfterRollback(
  tx: Transaction<Database>,
  clock: Clock,
  rollback: Release,
  lostId: string,
): Promise<void> {
  const lost = await findVersion(tx, lostId)
  await requestFreeze(tx, clock, {
    model: rollback.model,
    endpoint: rollback.endpoint,
    kind: 'rollback',
    why: `${rollback.id} went back from ${lostId} to ${rollback.versionId}: ${rollback.cause}`,
    unfreezes: `'millrace unfreeze ${rollback.model}', a version from other code, or a change of the model's configuration`,
    by: rollback.requestedBy,
    codeDigest: lost?.lineage.codeDigest ?? null,
    configDigest: await configDigestNow(tx, rollback.model),
  })
}

async function whyItEnds(db: Kysely<Database>, freeze: Freeze): Promise<string | null> {
  const versions = await listVersions(db, { model: freeze.model, limit: NEWEST_MAX })
  const ids = versions.map(({ id }) => id)
  const since = await versionsSince(db, freeze.id, 'active', ids)
  return endOfRollbackFreeze(freeze, {
    configDigest: await configDigestNow(db, freeze.model),
    // A backfill is never released, so that it says nothing of what would be.
    newVersions: versions
      .filter(({ id, lineage }) => since.has(id) && lineage.backfilled !== true)
      .map(({ id, lineage }) => ({ id, codeDigest: lineage.codeDigest })),
  })
}

/** Null: the model has left the configuration. */
async function configDigestNow(db: Kysely<Database> | Transaction<Database>, model: string): Promise<string | null> {
  const config = (await latestRevision(db))?.project.models.find((m) => m.name === model)
  return config === undefined ? null : configDigest(config)
}
