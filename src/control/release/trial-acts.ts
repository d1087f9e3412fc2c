import type { Transaction } from 'kysely'
import type { Clock } from '../../kernel/clock.ts'
import { appendEvent, compareAndSet, timesOf } from '../../kernel/store/state-machine.ts'
import type { Database } from '../../kernel/store/schema.ts'
import { raiseAlert, resolveAlert } from '../monitoring/alert-requests.ts'
import { canServe, isUp, trialMachine, type Deployment, type Release, type Route } from './release.ts'
import { deploymentsWithReplicas, findDeployment, routeOf } from './release-store.ts'
import type { NextTrial } from './trial.ts'
import { trialsOf } from './trial-store.ts'

type Tx = Transaction<Database>

/** Alerts of releases that wait for a person. */
export const HELD_ALERT = 'release'

/**
 * Takes the release's row for this transaction, so that whatever is decided about it is decided once.
 * @returns false where it has moved on since it was looked at
 */
export async function lockRelease(tx: Tx, release: Pick<Release, 'id' | 'status'>): Promise<boolean> {
  const row = await tx
    .selectFrom('release')
    .select('status')
    .where('id', '=', release.id)
    .forUpdate()
    .executeTakeFirst()
  return row?.status === release.status
}

/** The deployment that serves beside the challenger, as far as it can: null where there is none to go back to. */
export function incumbent(
  route: Route | null,
  deployments: Deployment[],
  release: Pick<Release, 'versionId'>,
): Deployment | null {
  const byWeight = (route?.members ?? []).toSorted((a, b) => b.weightPercent - a.weightPercent)
  for (const { deploymentId } of byWeight) {
    const found = deployments.find((d) => d.id === deploymentId)
    if (found !== undefined && canServe(found) && found.versionId !== release.versionId) return found
  }
  return null
}

/**
 * Splits the traffic, or has it copied, and begins to count: route and trial change together. The caller moves the
 * release in the same transaction, whose row it holds.
 * @returns the trial's id; null where one of the two deployments is gone
 */
export async function beginTrial(tx: Tx, clock: Clock, release: Release, next: NextTrial): Promise<string | null> {
  const route = await routeOf(tx, release.endpoint)
  const champion = incumbent(route, await deploymentsWithReplicas(tx), release)
  const challenger = release.deploymentId === null ? null : await findDeployment(tx, release.deploymentId)
  if (champion === null || challenger === null || !isUp(challenger)) return null
  await endTrials(tx, clock, release.id, next.kind === 'canary' ? `goes on with ${next.weightPercent}%` : 'begins anew')
  const { id } = await tx
    .insertInto('trial')
    .values({
      release_id: release.id,
      endpoint: release.endpoint,
      kind: next.kind,
      step: next.step,
      weight_percent: next.weightPercent,
      status: 'running',
      challenger_id: release.versionId,
      champion_id: champion.versionId,
      started_at_ms: clock.epochMs(),
      started_calendar_ms: Math.round(clock.calendarMs()),
    })
    .returning('id')
    .executeTakeFirstOrThrow()
  await appendEvent(tx, {
    entity: 'trial',
    entityId: id,
    from: null,
    to: 'running',
    cause: `${release.id}: ${describeTrial(next)} against ${champion.versionId}`,
    ...timesOf(clock),
    detail: { release: release.id, endpoint: release.endpoint, version: release.versionId },
  })
  const share = next.weightPercent
  const members =
    next.kind === 'shadow'
      ? [{ deploymentId: champion.id, weightPercent: 100 }]
      : [
          { deploymentId: champion.id, weightPercent: 100 - share },
          { deploymentId: challenger.id, weightPercent: share },
        ]
  const mirrors = next.kind === 'shadow' ? [{ deploymentId: challenger.id, sharePercent: share }] : []
  await writeRoute(tx, clock, release.endpoint, { members, mirrors, trialId: id })
  return id
}

/** Ends what is compared, and gives all traffic to whoever serves beside the challenger. Harmless without a trial. */
export async function giveBack(tx: Tx, clock: Clock, release: Release, why: string): Promise<void> {
  const ended = await endTrials(tx, clock, release.id, why)
  const route = await routeOf(tx, release.endpoint)
  if (route === null || route.trialId === null || !ended.includes(route.trialId)) return
  const champion = incumbent(route, await deploymentsWithReplicas(tx), release)
  // Without one the challenger is all there is: an endpoint is never left without a member.
  const stays = champion?.id ?? release.deploymentId!
  const members = [{ deploymentId: stays, weightPercent: 100 }]
  await writeRoute(tx, clock, release.endpoint, { members, mirrors: [], trialId: null })
}

/** @returns ids of those that were running */
export async function endTrials(tx: Tx, clock: Clock, releaseId: string, why: string): Promise<string[]> {
  const ended: string[] = []
  for (const trial of await trialsOf(tx, releaseId)) {
    if (trial.status !== 'running') continue
    const moved = await compareAndSet(tx, {
      table: 'trial',
      key: [trial.id],
      from: trial.status,
      to: trialMachine.transition(trial.status, 'end'),
      cause: `${releaseId}: ${why}`,
      ...timesOf(clock),
      set: { why, ended_at_ms: clock.epochMs() },
    })
    if (moved) ended.push(trial.id)
  }
  return ended
}

/** A person is asked, as monitors do: by an alert, until the release goes on or ends. */
export async function raiseHeldAlert(tx: Tx, clock: Clock, release: Release, why: string): Promise<void> {
  const { model, endpoint, versionId } = release
  await raiseAlert(tx, clock, {
    model,
    endpoint,
    versionId,
    source: HELD_ALERT,
    subject: release.id,
    severity: 'warning',
    why: `${release.id} of ${versionId} is held: ${why}`,
    figures: { release: release.id },
    response: 'tell',
    runbook: `'millrace canary ${endpoint}' shows the evidence; '--promote' or '--stop' with '--why' ends it`,
  })
}

/** Nobody has to be asked any more. */
export async function settleHeldAlert(tx: Tx, clock: Clock, release: Release, why: string): Promise<void> {
  await resolveAlert(tx, clock, { model: release.model, source: HELD_ALERT, subject: release.id, why })
}

export const describeTrial = ({ kind, weightPercent }: Pick<NextTrial, 'kind' | 'weightPercent'>): string =>
  kind === 'shadow' ? `shadow of ${weightPercent}% of the requests` : `canary at ${weightPercent}%`

async function writeRoute(
  tx: Tx,
  clock: Clock,
  endpoint: string,
  to: Pick<Route, 'members' | 'mirrors' | 'trialId'>,
): Promise<void> {
  await tx
    .updateTable('route')
    .set({
      members: JSON.stringify(to.members),
      mirrors: JSON.stringify(to.mirrors),
      trial_id: to.trialId,
      updated_at_ms: clock.epochMs(),
    })
    .where('endpoint', '=', endpoint)
    .execute()
}
