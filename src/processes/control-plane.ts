import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { LISTEN_EVERY_MS } from '../control/release/observations.ts'
import { messageOf, MillraceError } from '../kernel/errors.ts'
import { lakeTotals, reconcile } from '../kernel/lake/lake-totals.ts'
import { settledBooks } from '../kernel/lake/settled-books.ts'
import { spoolBacklog } from '../kernel/lake/spool-backlog.ts'
import { openLog } from '../kernel/log.ts'
import { isAlive, readProcessRecords } from '../kernel/runtime/process-record.ts'
import { socketDir } from '../kernel/runtime/socket-dir.ts'
import { createHandlers } from '../surface/api/handlers/index.ts'
import type { Services } from '../surface/api/handlers/services.ts'
import { internalHandler, type InternalPort } from '../surface/api/internal.ts'
import { controlMetricsText } from '../surface/api/metrics/collect.ts'
import { metricsOf, scrapeTargets } from '../surface/api/metrics/other-processes.ts'
import { createApiServer } from '../surface/api/server.ts'
import { ensureApiToken } from '../surface/api/token.ts'
import { version as millraceVersion } from '../version.ts'
import { controlJobs, type ControlJobs } from './control-jobs.ts'
import { ControlLoops } from './control-loops.ts'
import { openStages, startLoops, type ControlStages } from './control-stages.ts'
import { openControlContext, type ControlContextOptions, type OpenControlContext } from './open-control-context.ts'
import { rehearsalControl } from './rehearsal-control.ts'

/** What the supervisor hands over, as a JSON file. `apply`: the file that `up` was started with. */
export interface ControlPlaneOptions extends ControlContextOptions {
  id: string
  token: string
  /** Control API on TCP; null: unix socket only. */
  api: { host: string; port: number } | null
}

const SILENCE_LOOK_MS = 500

async function main(options: ControlPlaneOptions): Promise<void> {
  const { dataDir } = options
  const startedAtMs = Date.now()
  const log = openLog({ process: 'control-plane' })
  const loops = new ControlLoops(log)
  const control = await openControlContext(options, log, loops)
  const { context } = control
  const jobs = controlJobs(dataDir, log)
  const stages = await openStages(context, jobs)
  const services = servicesOf(options, { control, stages, jobs, loops, startedAtMs })
  const server = createApiServer({
    handlers: createHandlers(services),
    internal: internalHandler(internalPort(stages, loops)),
    identity: { id: options.id, token: options.token, pid: process.pid },
    metrics: {
      text: (id) => services.metrics(id),
      targets: (address) => scrapeTargets(dataDir, address),
    },
    token: ensureApiToken(dataDir),
    version: millraceVersion,
    onDefect: (error: unknown) => log.error({ err: error }, 'a call failed unexpectedly'),
  })
  await server.listenSocket(join(socketDir(dataDir), 'control.sock'))
  if (options.api !== null) services.facts.apiUrl = await server.listenTcp(options.api)

  const listening = setInterval(() => stages.observations.look(), LISTEN_EVERY_MS)
  const watching = setInterval(() => {
    if (stages.deployments.isAnySilent()) loops.wake('deployment')
  }, SILENCE_LOOK_MS)
  startLoops(stages, context, loops)
  log.info({ pid: process.pid, store: context.store.backend }, 'the control plane is up')

  const stop = async (): Promise<void> => {
    await loops.stop()
    clearInterval(listening)
    clearInterval(watching)
    await server.close()
    await stages.traffic.flush()
    await control.close()
    log.info('the control plane has stopped')
  }
  const onSignal = () =>
    stop().then(
      () => process.exit(0),
      (error: unknown) => {
        // Whatever was under way is redone at the next start.
        log.error({ err: error }, 'the control plane did not stop in order')
        process.exit(1)
      },
    )
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => void onSignal())
}

/** What replicas and gateways say, and whom it wakes. */
function internalPort({ observations, publisher, deployments, replicas, traffic }: ControlStages, loops: ControlLoops) {
  return {
    async onLease(lease) {
      const { changed } = observations.hearLease(lease)
      if (changed) for (const name of ['deployment', 'release'] as const) loops.wake(name)
      return { goal: deployments.goalOf(lease) }
    },
    async onGatewayReport(report) {
      const { changed } = observations.hearGateway(report)
      if (replicas.hear(report).someoneWaits) loops.wake('replicas')
      // Somebody waits for what a trial has counted: harm must not wait for the next flush.
      if (traffic.add(report).ofTrial) loops.wake('traffic')
      if (changed || deployments.isDraining()) loops.wake('deployment')
    },
    followRoutes: (follower) => publisher.follow(follower),
  } satisfies InternalPort
}

interface ServiceParts {
  control: OpenControlContext
  stages: ControlStages
  jobs: ControlJobs
  loops: ControlLoops
  startedAtMs: number
}

function servicesOf(
  { id: ownId, dataDir }: ControlPlaneOptions,
  { control, stages, jobs, loops, startedAtMs }: ServiceParts,
): Services {
  const { context } = control
  const lakeDir = join(dataDir, 'lake')
  const services: Services = {
    context,
    observations: stages.observations,
    publisher: stages.publisher,
    triggers: stages.triggers,
    runs: stages.runs,
    retirements: stages.retirements,
    artifacts: stages.artifacts,
    ingest: stages.ingest,
    reload: () => control.reload(),
    inspectModel: (place, features) => jobs.inspect(place, features),
    async queryLake(sql, limitRows) {
      await stages.ingest.flush()
      const root = context.project()?.project.root ?? dataDir
      return jobs.query({ lakeDir, root, sql, asOfMs: context.clock.calendarMs(), limitRows })
    },
    reconciliation: () =>
      settledBooks(async () =>
        reconcile(await lakeTotals(lakeDir), await spoolBacklog(join(dataDir, 'spool')), Date.now()),
      ),
    processes: async () => processViews(dataDir),
    metrics: (id) => (id === null || id === ownId ? controlMetricsText(services, loops.times) : metricsOf(dataDir, id)),
    clock: rehearsalControl(dataDir, context.clock),
    facts: {
      version: millraceVersion,
      startedAtMs,
      apiUrl: null,
      freeBytes: () => control.disk().freeBytes,
      minFreeBytes: () => control.disk().minFreeBytes,
    },
  }
  return services
}

function processViews(dataDir: string): Awaited<ReturnType<Services['processes']>> {
  return readProcessRecords(dataDir).map((record) => ({
    id: record.id,
    kind: record.role,
    pid: record.pid,
    state: isAlive(record) ? 'running' : 'gone',
    startedAtMs: record.startedAtMs,
    restarts: 0,
    why: null,
  }))
}

try {
  await main(JSON.parse(readFileSync(process.argv[2]!, 'utf8')) as ControlPlaneOptions)
} catch (error) {
  // The supervisor shows this line; a MillraceError says what to do.
  process.stderr.write(
    `${JSON.stringify(error instanceof MillraceError ? error.toJSON() : { message: messageOf(error), stack: (error as Error).stack })}\n`,
  )
  process.exit(error instanceof MillraceError && !error.retryable ? 12 : 1)
}
