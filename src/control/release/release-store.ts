import type { Kysely, Selectable, Transaction } from 'kysely'
import { MillraceError } from '../../kernel/errors.ts'
import type { Database, DeploymentTable, ReleaseTable, ReplicaTable, RouteTable } from '../../kernel/store/schema.ts'
import { fallbackDeployment, type Fallback } from './fallback.ts'
import { isInGather } from './gather.ts'
import { memberDeployment } from './gather-route.ts'
import { gatherMembers } from './gather-store.ts'
import {
  canServe,
  deploymentMachine,
  releaseMachine,
  replicaMachine,
  type Deployment,
  type Release,
  type Replica,
  type Route,
} from './release.ts'

type Db = Kysely<Database> | Transaction<Database>

export class ReleaseNotFoundError extends MillraceError {
  constructor(id: string) {
    super({
      code: 'MR_RELEASE_NOT_FOUND',
      kind: 'not-found',
      message: `There is no release ${id}.`,
      fix: `Run 'millrace releases' to see them.`,
    })
  }
}

const openStatuses = ['queued', 'deploying', 'preflight', 'switching', 'shadowing', 'canary', 'held']

export async function openReleases(db: Db): Promise<Release[]> {
  const rows = await db.selectFrom('release').selectAll().where('status', 'in', openStatuses).orderBy('seq').execute()
  return rows.map(toRelease)
}

export async function isRollingBack(db: Db, model: string): Promise<boolean> {
  return (await openReleases(db)).some((r) => r.model === model && r.kind === 'rollback')
}

export async function listReleases(db: Db, filter: { model?: string; limit: number }): Promise<Release[]> {
  let query = db.selectFrom('release').selectAll().orderBy('seq', 'desc').limit(filter.limit)
  if (filter.model !== undefined) query = query.where('model', '=', filter.model)
  return (await query.execute()).map(toRelease)
}

export async function findRelease(db: Db, id: string): Promise<Release> {
  const row = await db.selectFrom('release').selectAll().where('id', '=', id).executeTakeFirst()
  if (row === undefined) throw new ReleaseNotFoundError(id)
  return toRelease(row)
}

export async function releasesOf(db: Db, versionId: string): Promise<Release[]> {
  const rows = await db
    .selectFrom('release')
    .selectAll()
    .where('version_id', '=', versionId)
    .orderBy('seq', 'desc')
    .execute()
  return rows.map(toRelease)
}

/** Deployments that have or may have replicas. */
export async function openDeployments(db: Db): Promise<Deployment[]> {
  const rows = await db
    .selectFrom('deployment')
    .selectAll()
    .where('status', 'in', ['starting', 'ready', 'draining'])
    .orderBy('seq')
    .execute()
  return rows.map(toDeployment)
}

export async function findDeployment(db: Db, id: string): Promise<Deployment | null> {
  const row = await db.selectFrom('deployment').selectAll().where('id', '=', id).executeTakeFirst()
  return row === undefined ? null : toDeployment(row)
}

/** Whether a version has passed preflight once, on whichever endpoint. */
export async function hasServed(db: Db, versionId: string): Promise<boolean> {
  const row = await db
    .selectFrom('deployment')
    .select('id')
    .where('version_id', '=', versionId)
    .where('discoverable', '=', true)
    .limit(1)
    .executeTakeFirst()
  return row !== undefined
}

/** Also ended ones, as long as a replica of theirs may run: a crash may have come between the two. */
export async function deploymentsWithReplicas(db: Db): Promise<Deployment[]> {
  const rows = await db
    .selectFrom('deployment')
    .selectAll()
    // By two indexes of what is open: with 'or' all that ever was would be read.
    .where('id', 'in', (eb) =>
      eb
        .selectFrom('deployment as open')
        .select('open.id')
        .where('open.status', 'in', ['starting', 'ready', 'draining'])
        .union(eb.selectFrom('replica').select('deployment_id as id').where('replica.status', '<>', 'gone')),
    )
    .orderBy('seq')
    .execute()
  return rows.map(toDeployment)
}

/** Replicas that are not known to be gone. */
export async function openReplicas(db: Db): Promise<Replica[]> {
  const rows = await db.selectFrom('replica').selectAll().where('status', '<>', 'gone').orderBy('seq').execute()
  return rows.map(toReplica)
}

export interface Losses {
  replicas: number
  lastAtMs: number
  /** Of the last one. */
  why: string | null
}

/** Of the replica that was recorded last; 0 where there is none. */
export async function lastReplicaSeq(db: Db): Promise<number> {
  const { seq } = await db
    .selectFrom('replica')
    .select(({ fn }) => fn.max('seq').as('seq'))
    .executeTakeFirstOrThrow()
  return Number(seq ?? 0)
}

/**
 * Replicas that have gone in a stretch of time, by deployment: what its restarts wait by.
 * @param within - until now: what is later was before the clock was set back
 * @param afterSeq - the last one of an earlier control plane: its replicas, which may have been stopped with it, say nothing
 *   of how those fare that this one starts
 */
export async function lossesWithin(
  db: Db,
  within: { fromMs: number; toMs: number },
  afterSeq: number,
): Promise<Map<string, Losses>> {
  const rows = await db
    .selectFrom('replica')
    .select(['deployment_id', 'ended_at_ms', 'why'])
    .where('status', '=', 'gone')
    .where('ended_at_ms', '>=', within.fromMs)
    .where('ended_at_ms', '<=', within.toMs)
    .where('seq', '>', afterSeq)
    .orderBy('ended_at_ms')
    .orderBy('seq')
    .execute()
  const losses = new Map<string, Losses>()
  for (const row of rows) {
    const before = losses.get(row.deployment_id)?.replicas ?? 0
    losses.set(row.deployment_id, { replicas: before + 1, lastAtMs: row.ended_at_ms!, why: row.why })
  }
  return losses
}

/**
 * Who needs which deployment: a release under way, the route, the version kept warm behind it, a fallback or another
 * version that is declared, a gather. In this order, since a
 * release hands over to the route when it ends, and the route to `previous`, so that nothing falls between two reads.
 */
export async function deploymentHolders(
  db: Db,
  deployments: Deployment[],
  fallbacks: Fallback[] = [],
  pinned: ReadonlySet<string> = new Set(),
): Promise<Map<string, string[]>> {
  const holders = new Map<string, string[]>()
  const hold = (id: string, by: string) => holders.set(id, [...(holders.get(id) ?? []), by])
  for (const release of await openReleases(db))
    if (release.deploymentId !== null) hold(release.deploymentId, release.id)
  for (const route of await routes(db))
    for (const member of [...route.members, ...route.mirrors]) hold(member.deploymentId, 'route')
  const previous = await db
    .selectFrom('alias')
    .select(['model', 'version_id'])
    .where('alias', '=', 'previous')
    .execute()
  for (const { model, version_id } of previous) {
    const newest = deployments.findLast((d) => d.model === model && d.versionId === version_id && canServe(d))
    if (newest !== undefined) hold(newest.id, 'previous')
  }
  for (const fallback of fallbacks) {
    const found = fallbackDeployment(fallback, deployments)
    if (found !== null) hold(found.id, fallback.as ?? 'fallback')
  }
  for (const member of await gatherMembers(db)) {
    const found = isInGather(member) ? memberDeployment(member.versionId, deployments) : null
    if (found !== null) hold(found.id, `gather ${member.endpoint}`)
  }
  // Who calls a version by its number must not lose it.
  for (const deployment of deployments)
    if (pinned.has(deployment.versionId) && canServe(deployment)) hold(deployment.id, 'pin')
  return holders
}

export async function routes(db: Db): Promise<Route[]> {
  return (await db.selectFrom('route').selectAll().orderBy('endpoint').execute()).map(toRoute)
}

export async function routeOf(db: Db, endpoint: string): Promise<Route | null> {
  const row = await db.selectFrom('route').selectAll().where('endpoint', '=', endpoint).executeTakeFirst()
  return row === undefined ? null : toRoute(row)
}

function toRelease(row: Selectable<ReleaseTable>): Release {
  return {
    id: row.id,
    kind: row.kind as Release['kind'],
    endpoint: row.endpoint,
    model: row.model,
    versionId: row.version_id,
    previousId: row.previous_id,
    deploymentId: row.deployment_id,
    status: releaseMachine.parse(row.status),
    why: row.why,
    cause: row.cause,
    requestedBy: row.requested_by,
    createdAtMs: row.created_at_ms,
    statusAtMs: row.status_at_ms,
    switchedAtMs: row.switched_at_ms,
    firstAnswerAtMs: row.first_answer_at_ms,
    endedAtMs: row.ended_at_ms,
  }
}

function toDeployment(row: Selectable<DeploymentTable>): Deployment {
  return {
    id: row.id,
    endpoint: row.endpoint,
    model: row.model,
    versionId: row.version_id,
    status: deploymentMachine.parse(row.status),
    why: row.why,
    replicasWanted: row.replicas_wanted,
    discoverable: row.discoverable,
    createdAtMs: row.created_at_ms,
    endedAtMs: row.ended_at_ms,
  }
}

function toReplica(row: Selectable<ReplicaTable>): Replica {
  return {
    id: row.id,
    deploymentId: row.deployment_id,
    token: row.token,
    status: replicaMachine.parse(row.status),
    why: row.why,
    createdAtMs: row.created_at_ms,
    endedAtMs: row.ended_at_ms,
  }
}

function toRoute(row: Selectable<RouteTable>): Route {
  return {
    endpoint: row.endpoint,
    model: row.model,
    members: row.members,
    mirrors: row.mirrors,
    trialId: row.trial_id,
    disabled: row.disabled,
  }
}
