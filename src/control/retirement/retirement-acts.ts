import type { Transaction } from 'kysely'
import type { Clock } from '../../kernel/clock.ts'
import type { Artifacts } from '../../kernel/artifacts/artifacts.ts'
import type { Store } from '../../kernel/store/store.ts'
import type { Database } from '../../kernel/store/schema.ts'
import { timesOf } from '../../kernel/store/state-machine.ts'
import { forgetModelFiles } from '../registry/model-files.ts'
import { setDisposition } from '../registry/version-requests.ts'
import { recordSli } from '../service-level/sli-requests.ts'
import { mayAct, type RetirementAct } from './decide-retirement.ts'
import { VersionHeldError } from './errors.ts'
import { isProtected, type Retirement } from './retirement.ts'
import { lockVersion, moveRetirement, proposeRetirement } from './retirement-requests.ts'
import { retirementOf } from './retirement-store.ts'
import { holdersOf, type UsesOutside } from './use-facts.ts'

type Tx = Transaction<Database>

/** What was put within so many ms of real time may not be recorded anywhere yet, and is not removed. */
export const UNRECORDED_MS = 5 * 60_000

/**
 * One act of the policies on one version, in a transaction that locks it and asks the guard again: whoever has begun a
 * use since it was looked at wins.
 * @param seen - the status that the act was decided by
 * @returns whether it was done
 */
export async function actOnVersion(
  tx: Tx,
  clock: Clock,
  wish: { versionId: string; model: string; seen: Retirement['status']; act: RetirementAct; outside: UsesOutside },
): Promise<boolean> {
  const { versionId, model, seen, act } = wish
  await lockVersion(tx, versionId)
  const current = await retirementOf(tx, versionId)
  const heldBy = await holdersOf(tx, { id: versionId, model }, wish.outside, clock.calendarMs())
  const isRunning = act.kind === 'stop' && (await hasReplicas(tx, versionId))
  const status = current?.status ?? 'kept'
  if (!mayAct(act, seen, { status, heldBy, isRunning, isProtected: isProtected(current, clock.calendarMs()) }))
    return false
  switch (act.kind) {
    case 'propose':
      return proposeRetirement(tx, clock, {
        versionId,
        model,
        policy: act.policy,
        why: act.why,
        by: 'millrace',
        heldBy,
      })
    case 'note':
      await tx
        .updateTable('retirement')
        .set({ held_by: JSON.stringify(heldBy) })
        .where('version_id', '=', versionId)
        .execute()
      return true
    case 'keep':
    case 'revive':
    case 'drain':
    case 'stop':
    case 'cool':
    case 'delete': {
      const moved = await moveRetirement(tx, clock, current!, act.kind, { ...act, by: 'millrace' })
      // What is cold did not run: that it is wanted again is no harm done.
      if (moved && !(act.kind === 'revive' && seen === 'cold'))
        await recordSafety(tx, clock, model, versionId, act.kind)
      if (moved && act.kind === 'delete') await endWaiting(tx, clock, versionId)
      return moved
    }
  }
}

/** What waits for approval until its files go can't be approved any more: nobody is to be asked for it for ever. */
async function endWaiting(tx: Tx, clock: Clock, versionId: string): Promise<void> {
  const waiting = await tx
    .selectFrom('version')
    .select('id')
    .where('id', '=', versionId)
    .where('disposition', '=', 'awaiting-approval')
    .executeTakeFirst()
  if (waiting === undefined) return
  await setDisposition(tx, clock, versionId, 'spare', 'nobody decided about it before its files were deleted')
}

/** A person's wish: proposed only where nothing holds it. @throws VersionHeldError, NotRetiredError */
export async function retireByHand(
  tx: Tx,
  clock: Clock,
  wish: { versionId: string; model: string; why: string; by: string; outside: UsesOutside },
): Promise<void> {
  const { versionId, model, why, by, outside } = wish
  await lockVersion(tx, versionId)
  const heldBy = await holdersOf(tx, { id: versionId, model }, outside, clock.calendarMs())
  if (heldBy.length > 0) throw new VersionHeldError(versionId, heldBy)
  await proposeRetirement(tx, clock, { versionId, model, policy: 'person', why, by, heldBy: [] })
}

/**
 * Removes the files of a version that is being deleted, but none that anything else is made of; then says so. Repeated
 * after a crash it finds what is left. What else it was made of (its code, the rows of its evaluation) goes with
 * everything that nothing names any more: see ArtifactCollector.
 * @param live - what anything but versions that are being deleted is made of
 * @returns why it has to wait; null: done
 */
export async function removeFiles(
  { store, clock, artifacts, dataDir }: { store: Store; clock: Clock; artifacts: Artifacts; dataDir: string },
  versionId: string,
  live: { has(digest: string): boolean },
  unusedForMs = UNRECORDED_MS,
): Promise<string | null> {
  const version = await store.db
    .selectFrom('version')
    .select(['model_digest', 'golden_digest', 'profile_digest', 'size_bytes'])
    .where('id', '=', versionId)
    .executeTakeFirstOrThrow()
  const digests = new Set([
    ...(await filesOfTree(artifacts, version.model_digest)),
    ...[version.model_digest, version.golden_digest, version.profile_digest].filter((d) => d !== null),
  ])
  const removed: string[] = []
  const shared: string[] = []
  for (const digest of digests) {
    if (live.has(digest)) {
      shared.push(digest)
      continue
    }
    if ((await artifacts.remove(digest, { unusedForMs })) === 'recent')
      return `${digest.slice(0, 19)}… was put within the last ${unusedForMs / 60_000} minutes`
    removed.push(digest)
  }
  if (removed.includes(version.model_digest)) await forgetModelFiles(dataDir, version.model_digest)
  const left = shared.length === 0 ? '' : `; ${shared.length} kept, as something else is made of them`
  await store.transaction(async (tx) => {
    await lockVersion(tx, versionId)
    const current = await retirementOf(tx, versionId)
    if (current?.status !== 'deleting') return
    const { policy } = current
    const why = `${removed.length} files removed${left}`
    if (!(await moveRetirement(tx, clock, current, 'remove', { policy, why, by: 'millrace' }))) return
    await tx.updateTable('version').set({ deleted_at_ms: clock.epochMs() }).where('id', '=', versionId).execute()
  })
  return null
}

/** A model in several files: each of them, before the list that names them. */
async function filesOfTree(artifacts: Artifacts, digest: string): Promise<string[]> {
  if (!(await artifacts.has(digest)) || !(await artifacts.isTree(digest))) return []
  const { entries } = await artifacts.readTree(digest)
  return entries.flatMap((entry) => (entry.type === 'file' ? [entry.digest] : []))
}

async function hasReplicas(tx: Tx, versionId: string): Promise<boolean> {
  const deployment = await tx
    .selectFrom('deployment')
    .select('id')
    .where('version_id', '=', versionId)
    .where((eb) =>
      eb.or([
        eb('status', 'in', ['starting', 'ready', 'draining']),
        eb('id', 'in', eb.selectFrom('replica').select('deployment_id').where('replica.status', '<>', 'gone')),
      ]),
    )
    .executeTakeFirst()
  return deployment !== undefined
}

/** Bad: something was out of service, or on its way, although it was in use. */
async function recordSafety(tx: Tx, clock: Clock, model: string, versionId: string, act: string): Promise<void> {
  if (act !== 'stop' && act !== 'delete' && act !== 'revive') return
  const good = act !== 'revive'
  await recordSli(tx, {
    phase: 'retirement',
    indicator: 'retirementSafety',
    model,
    value: good ? 1 : 0,
    good,
    subject: `${versionId} ${act} ${clock.epochMs()}`,
    ...timesOf(clock),
  })
}
