import type { Kysely, Transaction } from 'kysely'
import type { ModelConfig } from '../../config/project.ts'
import type { Database } from '../../kernel/store/schema.ts'
import { listPins } from '../caller/caller-store.ts'
import { openEvaluations } from '../evaluation/evaluation-store.ts'
import type { Version } from '../registry/version.ts'
import { activeFreezes } from '../release/freeze-store.ts'
import { gatherMembers } from '../release/gather-store.ts'
import { openReleases, routes } from '../release/release-store.ts'
import { holders, unused, type UseFacts } from './holders.ts'
import { openRetirements, pinMsOf } from './retirement-store.ts'

type Db = Kysely<Database> | Transaction<Database>

/** What is known of uses outside of the database. */
export interface UsesOutside {
  /** Declared and paused models, for their fallbacks. */
  models: ModelConfig[]
  /** By deployment, over all gateways. */
  inFlight: Map<string, number>
  /** By version: jobs of this process that read it. */
  readers: Map<string, string[]>
}

/**
 * Every use of a model's versions that are not deleted. Within a transaction that has locked a version it can't change for
 * that one.
 * @param only - of this version
 */
export async function useFacts(
  db: Db,
  model: string,
  outside: UsesOutside,
  only?: string,
): Promise<Map<string, UseFacts>> {
  let query = db
    .selectFrom('version')
    .select(['id', 'number', 'disposition', 'run_id'])
    .where('model', '=', model)
    .where('deleted_at_ms', 'is', null)
  if (only !== undefined) query = query.where('id', '=', only)
  const versions = await query.orderBy('number').execute()
  const facts = new Map(versions.map((v) => [v.id, unused(v.id)]))
  const of = (id: string | null | undefined): UseFacts | undefined => facts.get(id ?? '')

  const deployments = await db
    .selectFrom('deployment')
    .select(['id', 'endpoint', 'version_id', 'status', 'discoverable'])
    .where('model', '=', model)
    .where('status', 'in', ['starting', 'ready', 'draining'])
    .execute()
  const deployed = new Map(deployments.map((d) => [d.id, d]))
  for (const route of await routes(db)) {
    const { endpoint } = route
    for (const { deploymentId, weightPercent } of route.members)
      of(deployed.get(deploymentId)?.version_id)?.routes.push({ endpoint, weightPercent, mirror: false })
    for (const { deploymentId, sharePercent } of route.mirrors)
      of(deployed.get(deploymentId)?.version_id)?.routes.push({ endpoint, weightPercent: sharePercent, mirror: true })
  }
  for (const d of deployments) {
    const facts = of(d.version_id)
    if (facts === undefined) continue
    facts.inFlight += outside.inFlight.get(d.id) ?? 0
    const others = deployments.some(
      (o) => o.endpoint === d.endpoint && o.status === 'ready' && o.version_id !== d.version_id,
    )
    if (d.status === 'ready' && !others) facts.lastHealthyOf = d.endpoint
  }
  for (const release of await openReleases(db)) {
    of(release.versionId)?.releases.push({ id: release.id, status: release.status, as: 'target' })
    of(release.previousId)?.releases.push({ id: release.id, status: release.status, as: 'champion' })
  }
  const trials = await db
    .selectFrom('trial')
    .select(['id', 'challenger_id', 'champion_id'])
    .where('status', '=', 'running')
    .execute()
  for (const trial of trials) for (const id of [trial.challenger_id, trial.champion_id]) of(id)?.trials.push(trial.id)

  // Those that it reads for the spread only are no use: cold ones stay cold, and their files stay as long as it lasts.
  for (const { id, versionId, championId } of await openEvaluations(db))
    for (const used of new Set([versionId, championId])) of(used)?.evaluations.push(id)
  const named = await db
    .selectFrom('alias')
    .select(['alias', 'version_id'])
    .where('model', '=', model)
    .orderBy('alias')
    .execute()
  for (const { alias, version_id } of named) of(version_id)?.aliases.push(alias)
  for (const { endpoint, serving } of outside.models)
    if (serving.fallback.kind === 'version') of(serving.fallback.version)?.fallbackOf.push(endpoint)
  const pins = await db
    .selectFrom('pin')
    .select(['version_id', 'caller', 'last_calendar_ms'])
    .where('version_id', 'in', [...facts.keys(), ''])
    .orderBy('last_calendar_ms', 'desc')
    .execute()
  for (const pin of pins) of(pin.version_id)?.pins.push({ caller: pin.caller, lastCalendarMs: pin.last_calendar_ms })
  for (const { endpoint, versionId, status } of await gatherMembers(db))
    if (status === 'member' || status === 'joining') of(versionId)?.gathers.push({ endpoint, status })
  // Those whose time is over are taken away by the deployment loop.
  for (const { caller, endpoint, versionId, expiresAtMs } of await listPins(db))
    of(versionId)?.callerPins.push({ caller, endpoint, expiresAtMs })
  for (const [lostId, freezeId] of await lostVersions(db, model)) {
    const lost = of(lostId)
    if (lost !== undefined) lost.lostTo = freezeId
  }
  await addReaders(db, versions, facts)
  for (const [id, readers] of outside.readers) of(id)?.readers.push(...readers)
  for (const r of await openRetirements(db, { model })) {
    const kept = of(r.versionId)
    if (kept !== undefined && r.status === 'kept' && r.policy === 'person')
      kept.keptBy = { by: r.by, why: r.why, untilCalendarMs: r.keptUntilCalendarMs }
  }
  return facts
}

/** What holds one version, asked within the transaction that has locked it. */
export async function holdersOf(
  tx: Transaction<Database>,
  version: Pick<Version, 'id' | 'model'>,
  outside: UsesOutside,
  calendarMs: number,
): Promise<string[]> {
  const facts = (await useFacts(tx, version.model, outside, version.id)).get(version.id)
  const pinMs = pinMsOf(outside.models, version.model)
  return facts === undefined ? [] : holders(facts, calendarMs, pinMs)
}

/** Versions whose rollback has frozen automatic release, with that freeze. */
async function lostVersions(db: Db, model: string): Promise<[string, string][]> {
  const freeze = (await activeFreezes(db, model)).find((f) => f.kind === 'rollback')
  if (freeze === undefined) return []
  // Its reason begins with the rollback that it began with.
  const first = Number(/^release-(\d+)/.exec(freeze.why)?.[1] ?? 0)
  const rollbacks = await db
    .selectFrom('release')
    .select(['seq', 'previous_id'])
    .where('model', '=', model)
    .where('kind', '=', 'rollback')
    .where('status', 'in', ['released', 'rolled-back'])
    .where('seq', '>=', first)
    .execute()
  return rollbacks.flatMap((r) => (r.previous_id === null ? [] : [[r.previous_id, freeze.id] as [string, string]]))
}

async function addReaders(
  db: Db,
  versions: { id: string; disposition: string | null; run_id: string | null }[],
  facts: Map<string, UseFacts>,
): Promise<void> {
  const open = await db.selectFrom('run').select('id').where('status', 'in', ['queued', 'running']).execute()
  const openRuns = new Set(open.map((r) => r.id))
  for (const { id, disposition, run_id } of versions) {
    if (disposition === null) facts.get(id)!.readers.push('the gate: nothing is decided about it yet')
    if (run_id !== null && openRuns.has(run_id)) facts.get(id)!.readers.push(`${run_id}, which is still under way`)
  }
}
