import type { Transaction } from 'kysely'
import type { Clock } from '../../kernel/clock.ts'
import { compareAndSet, timesOf } from '../../kernel/store/state-machine.ts'
import type { Database } from '../../kernel/store/schema.ts'
import type { Disposition } from '../registry/version.ts'
import { setAlias, setDisposition } from '../registry/version-requests.ts'
import { championOf } from '../registry/version-store.ts'
import { recordSli } from '../service-level/sli-requests.ts'
import { freezeAfterRollback } from './freeze-review.ts'
import { isUp, releaseMachine, type Release, type ReleaseEvent } from './release.ts'
import { findDeployment, openReleases } from './release-store.ts'
import { championBefore } from './rollback-requests.ts'
import { endTrials, giveBack, settleHeldAlert } from './trial-acts.ts'

type Tx = Transaction<Database>

/**
 * All traffic in one write: route, aliases and release change together or not at all.
 * @returns false where the release or its deployment has moved on since it was looked at
 */
export async function flipRoute(tx: Tx, clock: Clock, release: Release, why: string): Promise<boolean> {
  const nowMs = clock.epochMs()
  const deployment = await findDeployment(tx, release.deploymentId!)
  if (deployment === null || !isUp(deployment)) return false
  const champion = await championOf(tx, release.model)
  const previousId = champion?.id === release.versionId ? release.previousId : (champion?.id ?? null)
  const set = { previous_id: previousId, switched_at_ms: nowMs, ended_at_ms: nowMs }
  if (!(await moveRelease(tx, clock, release, 'flip', why, set))) return false
  await setRoute(tx, release, deployment.id, nowMs)
  await endTrials(tx, clock, release.id, why)
  await settleHeldAlert(tx, clock, release, `${release.id}: ${why}`)
  if (champion?.id !== release.versionId) await moveAliases(tx, clock, release, champion?.id ?? null)
  if (release.kind === 'rollback') {
    if (champion !== null && champion.id !== release.versionId) {
      await markRolledBack(tx, clock, release, champion.id)
      await freezeAfterRollback(tx, clock, release, champion.id)
    }
    await cancelOlder(tx, clock, release)
  }
  await recordReleaseSli(tx, clock, release, true)
  return true
}

/** Moves a release by compare-and-set, with its event. @returns false where somebody else was first */
export function moveRelease(
  tx: Tx,
  clock: Clock,
  release: Release,
  event: ReleaseEvent,
  why: string,
  set: Record<string, unknown> = {},
): Promise<boolean> {
  return compareAndSet(tx, {
    table: 'release',
    key: [release.id],
    from: release.status,
    to: releaseMachine.transition(release.status, event),
    cause: why,
    ...timesOf(clock),
    set: { why, status_at_ms: clock.epochMs(), ...set },
  })
}

/**
 * Ends a release that never had all of the traffic, and says what becomes of its version. What it had of it, or got
 * copies of, goes back to the champion in the same write.
 */
export async function endRelease(
  tx: Tx,
  clock: Clock,
  release: Release,
  end: { event: 'fail' | 'supersede' | 'cancel' | 'rollBack'; why: string; disposition: Disposition },
): Promise<void> {
  const { event, why, disposition } = end
  if (!(await moveRelease(tx, clock, release, event, why, { ended_at_ms: clock.epochMs() }))) return
  await giveBack(tx, clock, release, why)
  await settleHeldAlert(tx, clock, release, `${release.id}: ${why}`)
  const words = {
    fail: 'failed',
    supersede: 'was superseded',
    cancel: 'was cancelled',
    rollBack: 'was rolled back from its canary',
  }[event]
  if (release.kind === 'release')
    await setDisposition(tx, clock, release.versionId, disposition, `${release.id} ${words}: ${why}`)
  if (event === 'fail' || event === 'rollBack') await recordReleaseSli(tx, clock, release, false)
}

async function setRoute(tx: Tx, release: Release, deploymentId: string, nowMs: number): Promise<void> {
  const members = JSON.stringify([{ deploymentId, weightPercent: 100 }])
  const values = { model: release.model, members, mirrors: '[]', trial_id: null, updated_at_ms: nowMs }
  await tx
    .insertInto('route')
    .values({ endpoint: release.endpoint, ...values })
    .onConflict((conflict) => conflict.column('endpoint').doUpdateSet(values))
    .execute()
}

async function moveAliases(tx: Tx, clock: Clock, release: Release, championId: string | null): Promise<void> {
  const { id, model, versionId, cause } = release
  await setAlias(tx, clock, { model, alias: 'champion', versionId, cause: `${id}: ${cause}` })
  if (championId === null) return
  if (release.kind === 'rollback') {
    // A further rollback goes one more step back, and never forward again to what was rolled back.
    const before = await championBefore(tx, model)
    return setAlias(tx, clock, { model, alias: 'previous', versionId: before, cause: `${id}: before ${versionId}` })
  }
  await setAlias(tx, clock, { model, alias: 'previous', versionId: championId, cause: `${id}: was the champion` })
}

/** The release that brought what has just lost the traffic. */
async function markRolledBack(tx: Tx, clock: Clock, rollback: Release, lostId: string): Promise<void> {
  const row = await tx
    .selectFrom('release')
    .select('id')
    .where('endpoint', '=', rollback.endpoint)
    .where('version_id', '=', lostId)
    .where('status', '=', 'released')
    .where('id', '<>', rollback.id)
    .orderBy('seq', 'desc')
    .executeTakeFirst()
  if (row === undefined) return
  await compareAndSet(tx, {
    table: 'release',
    key: [row.id],
    from: 'released',
    to: releaseMachine.transition('released', 'rollBack'),
    // Lists and `canary` show it beside 'rolled-back', where the reason of its promotion would contradict it.
    set: { why: `${rollback.id} went back to ${rollback.versionId}: ${rollback.cause}` },
    cause: `${rollback.id}: ${rollback.cause}`,
    ...timesOf(clock),
  })
}

/** What was under way when a person went back must not take the traffic after it. */
async function cancelOlder(tx: Tx, clock: Clock, rollback: Release): Promise<void> {
  const seq = (release: Release) => Number(release.id.split('-')[1])
  for (const other of await openReleases(tx)) {
    if (other.endpoint !== rollback.endpoint || seq(other) >= seq(rollback)) continue
    const why = `${rollback.id} went back to ${rollback.versionId}`
    await endRelease(tx, clock, other, { event: 'cancel', why, disposition: 'spare' })
  }
}

async function recordReleaseSli(tx: Tx, clock: Clock, release: Release, good: boolean): Promise<void> {
  await recordSli(tx, {
    phase: 'release',
    indicator: 'releaseSuccess',
    model: release.model,
    value: good ? 1 : 0,
    good,
    subject: release.id,
    atMs: clock.epochMs(),
    calendarMs: clock.calendarMs(),
  })
}
