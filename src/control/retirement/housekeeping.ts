import { readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { sql } from 'kysely'
import { errnoOf } from '../../kernel/runtime/system-error.ts'
import { removeUnusedEnvironments } from '../../kernel/runtime/unused-environments.ts'
import type { ControlContext } from '../control-context.ts'
import { keptRuns, type RunRetention } from './run-retention.ts'

/** What is kept of everything else that grows. Ages are calendar time. */
export interface SweepLimits extends RunRetention {
  eventMaxAgeMs: number
  /** Real time: of replicas that have gone, which a model that ends right after its start makes without end. */
  replicaMaxAgeMs: number
  /** Real time since a step or a server was last started in an environment that was built for it. */
  environmentMaxAgeMs: number
  /** Of one look. */
  runsPerSweep: number
  eventsPerSweep: number
  replicasPerSweep: number
}

const DAY_MS = 24 * 3_600_000

export const SWEEP_LIMITS: SweepLimits = {
  runMaxAgeMs: 30 * DAY_MS,
  runsKept: 50,
  failedRunsKept: 5,
  eventMaxAgeMs: 365 * DAY_MS,
  replicaMaxAgeMs: 30 * DAY_MS,
  environmentMaxAgeMs: 30 * DAY_MS,
  runsPerSweep: 5,
  eventsPerSweep: 1_000,
  replicasPerSweep: 1_000,
}

/** Removes what is no longer wanted, a bounded part each time. Safe to repeat and to be killed in. */
export async function sweep(context: ControlContext, limits: SweepLimits = SWEEP_LIMITS): Promise<void> {
  await sweepRuns(context, limits)
  await sweepEvents(context, limits)
  await sweepReplicas(context, limits)
  await sweepEnvironments(context, limits)
  await refreshStatistics(context)
}

/** The least number of events after which the tables may have become others, and their share of all. */
const NEWS = { events: 500, share: 0.2 }
const STATISTICS = 'statistics'

/** Once so much has happened since the last time that plans made then may be bad ones. */
async function refreshStatistics({ store }: ControlContext): Promise<void> {
  const { last } = await store.db
    .selectFrom('event')
    .select((eb) => eb.fn.max('id').as('last'))
    .executeTakeFirstOrThrow()
  const events = Number(last ?? 0)
  const row = await store.db.selectFrom('setting').select('value').where('key', '=', STATISTICS).executeTakeFirst()
  const seen = (row?.value as { events: number } | undefined)?.events ?? 0
  if (events - seen < Math.max(NEWS.events, seen * NEWS.share)) return
  await store.refreshStatistics()
  const value = JSON.stringify({ events })
  await store.db
    .insertInto('setting')
    .values({ key: STATISTICS, value })
    .onConflict((conflict) => conflict.column('key').doUpdateSet({ value }))
    .execute()
}

/** The rows of a run stay: only its folder goes. What it made is kept as artifacts. */
async function sweepRuns({ store, clock, dataDir, log }: ControlContext, limits: SweepLimits): Promise<void> {
  const folders = (await readdir(join(dataDir, 'runs')).catch(nothingIfMissing)).filter((name) =>
    /^run-\d+$/.test(name),
  )
  if (folders.length === 0) return
  const { rows } = await sql<{ id: string }>`
    select id from run where id in (${sql.join(folders)})
      and id not in (${keptRuns(limits, clock.calendarMs())})
    order by seq limit ${limits.runsPerSweep}`.execute(store.db)
  for (const { id } of rows) {
    await rm(join(dataDir, 'runs', id), { recursive: true, force: true })
    log.info({ run: id }, 'the folder of an old run was removed')
  }
}

/** Only the oldest are looked at: ids grow with time. */
async function sweepEvents({ store, clock }: ControlContext, limits: SweepLimits): Promise<void> {
  const before = Math.round(clock.calendarMs()) - limits.eventMaxAgeMs
  await sql`
    delete from event where id in (
      select id from (select id, calendar_ms from event order by id limit ${limits.eventsPerSweep}) oldest
      where calendar_ms < ${before})`.execute(store.db)
}

/** Rows of replicas, and what one left whose control plane was killed between recording its end and tidying up. */
async function sweepReplicas({ store, clock, dataDir }: ControlContext, limits: SweepLimits): Promise<void> {
  const root = join(dataDir, 'replicas')
  const left = await readdir(root).catch(nothingIfMissing)
  const ids = [...new Set(left.flatMap((name) => /^replica-\d+(?=(\.json)?$)/.exec(name)?.[0] ?? []))]
  if (ids.length > 0) {
    const there = await store.db
      .selectFrom('replica')
      .select('id')
      .where('id', 'in', ids)
      .where('status', '<>', 'gone')
      .execute()
    for (const id of ids) {
      if (there.some((replica) => replica.id === id)) continue
      await rm(join(root, id), { recursive: true, force: true })
      await rm(join(root, `${id}.json`), { force: true })
    }
  }
  const before = Math.round(clock.epochMs()) - limits.replicaMaxAgeMs
  await sql`
    delete from replica where seq in (
      select seq from replica where status = 'gone' and ended_at_ms < ${before}
      order by ended_at_ms limit ${limits.replicasPerSweep})`.execute(store.db)
}

async function sweepEnvironments({ store, dataDir, log }: ControlContext, limits: SweepLimits): Promise<void> {
  const inUse = async () => {
    const { rows } = await sql<{ digest: string | null }>`
      select environment ->> 'digest' as digest from attempt where status in ('starting', 'running')`.execute(store.db)
    const ofSteps = rows.flatMap(({ digest }) => (digest === null ? [] : [digest.slice('sha256:'.length)]))
    return new Set([...ofSteps.map((hex) => hex.slice(0, 32)), ...(await environmentsOfReplicas(dataDir))])
  }
  const removed = await removeUnusedEnvironments(join(dataDir, 'environments'), limits.environmentMaxAgeMs, inUse)
  if (removed.length > 0) log.info({ environments: removed }, 'environments that were long not used were removed')
}

/** What replicas were started with says where the commands of the user's own run. */
async function environmentsOfReplicas(dataDir: string): Promise<string[]> {
  const root = join(dataDir, 'replicas')
  const names = (await readdir(root).catch(nothingIfMissing)).filter((name) => name.endsWith('.json'))
  const options = await Promise.all(names.map((name) => readFile(join(root, name), 'utf8').catch(noTextIfMissing)))
  return options.flatMap((text) => [...text.matchAll(/environments\/([0-9a-f]{32})/g)].map((found) => found[1]!))
}

function noTextIfMissing(thrown: unknown): string {
  if (errnoOf(thrown) === 'ENOENT') return ''
  throw thrown
}

function nothingIfMissing(thrown: unknown): string[] {
  if (errnoOf(thrown) === 'ENOENT') return []
  throw thrown
}
