import { readFileSync, rmSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import type { Project } from '../config/project.ts'
import { missingForAutomation } from '../config/missing-for-automation.ts'
import type { AppliedProject, ControlContext, Topic } from '../control/control-context.ts'
import { lookOnNews } from '../control/look-on-news.ts'
import { EvaluationController } from '../control/evaluation/evaluation-controller.ts'
import { StabilityController } from '../control/evaluation/stability-controller.ts'
import type { EvaluateJobOutput } from '../control/evaluation/evaluate-job.ts'
import { IngestController } from '../control/ingest/ingest-controller.ts'
import { MonitoringController } from '../control/monitoring/monitoring-controller.ts'
import { NotificationController } from '../control/monitoring/notification-controller.ts'
import type { Observation } from '../control/monitoring/observation.ts'
import { sendWebhook } from '../control/monitoring/send-webhook.ts'
import { RunController } from '../control/pipeline/run-controller.ts'
import { applyProject, latestRevision, pausedModels } from '../control/project/revision-store.ts'
import { DeploymentController } from '../control/release/deployment-controller.ts'
import { GatherController } from '../control/release/gather-controller.ts'
import { LISTEN_EVERY_MS, Observations } from '../control/release/observations.ts'
import { ReplicasController } from '../control/release/replicas-controller.ts'
import { ReleaseController } from '../control/release/release-controller.ts'
import { RoutePublisher } from '../control/release/route-publisher.ts'
import type { ReevaluateJobOutput } from '../control/retirement/reevaluate-job.ts'
import { ReevaluationController } from '../control/retirement/reevaluation-controller.ts'
import { RetirementController } from '../control/retirement/retirement-controller.ts'
import type { TrialJobOutput } from '../control/release/trial-job.ts'
import { ServiceLevelController } from '../control/service-level/service-level-controller.ts'
import { trafficBuffer } from '../control/service-level/traffic-buffer.ts'
import { TriggerController } from '../control/trigger/trigger-controller.ts'
import { openFsArtifacts } from '../kernel/artifacts/fs/fs-artifacts.ts'
import type { ModelToMeasure } from '../control/registry/server-place.ts'
import { controlLoop, type ControlLoop } from '../kernel/control-loop.ts'
import { watchFreeSpace, type FreeSpace } from '../kernel/disk-space.ts'
import { messageOf, MillraceError } from '../kernel/errors.ts'
import type { IngestReport } from '../kernel/lake/ingest.ts'
import { lakeTotals, reconcile } from '../kernel/lake/lake-totals.ts'
import type { QueryResult } from '../kernel/lake/query.ts'
import { settledBooks } from '../kernel/lake/settled-books.ts'
import { spoolBacklog } from '../kernel/lake/spool-backlog.ts'
import { openLog } from '../kernel/log.ts'
import type { Signature } from '../kernel/model/signature.ts'
import { openClock } from '../kernel/rehearsal-clock.ts'
import { runJob, sweepJobs } from '../kernel/runtime/job.ts'
import { isAlive, readProcessRecords } from '../kernel/runtime/process-record.ts'
import { socketDir } from '../kernel/runtime/socket-dir.ts'
import { openStore } from '../kernel/store/open-store.ts'
import { createHandlers } from '../surface/api/handlers/index.ts'
import type { Services } from '../surface/api/handlers/services.ts'
import { internalHandler } from '../surface/api/internal.ts'
import { controlMetricsText } from '../surface/api/metrics/collect.ts'
import { LoopTimes } from '../surface/api/metrics/loop-times.ts'
import { metricsOf, scrapeTargets } from '../surface/api/metrics/other-processes.ts'
import { createApiServer } from '../surface/api/server.ts'
import { ensureApiToken } from '../surface/api/token.ts'
import { version as millraceVersion } from '../version.ts'
import { replicaRuntime } from './local-replicas.ts'
import { stepRuntime } from './local-steps.ts'
import { rehearsalControl } from './rehearsal-control.ts'

/** What the supervisor hands over, as a JSON file. */
export interface ControlPlaneOptions {
  id: string
  token: string
  dataDir: string
  databaseUrl: string | null
  /** Applied at the start where given (the file that `up` was started with). */
  apply: { project: Project; source: string; sourcePath: string; by: string } | null
  /** Control API on TCP; null: unix socket only. */
  api: { host: string; port: number } | null
}

const JOB_MS = 30 * 60_000
const INSPECT_MS = 120_000
const TRIAL_JOB_MS = 60_000
const LOOK_EVERY_MS = 1_000
/** While every replica is as wanted. What is on its way is looked at sooner, and what falls silent wakes the loop. */
const DEPLOYMENT_LOOK_MS = 2_000
const SILENCE_LOOK_MS = 500
/** Nobody waits for it, and each look reads all that could hold a version. */
const RETIREMENT_LOOK_MS = 2_000
const TRAFFIC_FLUSH_MS = 1_000
const OBSERVE_MS = 5 * 60_000
const MONITORING_LOOK_MS = 500
const SERVICE_LEVEL_LOOK_MS = 5_000

async function main(options: ControlPlaneOptions): Promise<void> {
  const { dataDir } = options
  const startedAtMs = Date.now()
  const log = openLog({ process: 'control-plane' })
  const clock = await openClock(dataDir, {
    keep: true,
    onError: (error) => log.warn({ err: error }, 'the rehearsal clock could not be kept'),
  })
  const store = await openStore({
    dataDir,
    databaseUrl: options.databaseUrl ?? undefined,
    onProgress: (text) => log.info(text),
    onWarning: (text) => log.warn(text),
    onLockLost(why) {
      log.error({ why }, 'another control plane may be writing: this one ends')
      process.exit(1)
    },
  })
  if (options.apply !== null) await applyProject(store, clock, options.apply)

  // What a killed predecessor has left half done.
  await sweepJobs(dataDir)
  rmSync(join(dataDir, 'tmp'), { recursive: true, force: true })
  const artifacts = openFsArtifacts(join(dataDir, 'artifacts'))
  const loops = new Map<LoopName, ControlLoop>()
  const loopTimes = new LoopTimes()
  let applied: AppliedProject | null = null
  let disk: FreeSpace | null = null
  const watchDisk = (minFreeBytes: number): FreeSpace =>
    watchFreeSpace({
      path: dataDir,
      minFreeBytes,
      onChange(low, freeBytes) {
        log.warn(
          { low, freeBytes, minFreeBytes },
          low ? 'free disk space is below the watermark: nothing new is started' : 'there is enough disk space again',
        )
        for (const loop of loops.values()) loop.wake()
      },
      onError: (error) => log.warn({ err: error }, 'free disk space could not be read'),
    })
  const context: ControlContext = {
    store,
    clock,
    artifacts,
    dataDir,
    log,
    wake: (topic) => {
      for (const name of wakes[topic]) loops.get(name)?.wake()
    },
    diskLow: () => disk?.low ?? false,
    project: () => applied,
  }
  const load = async (): Promise<void> => {
    const latest = await latestRevision(store.db)
    applied =
      latest === null
        ? null
        : { revisionId: latest.revision, project: latest.project, paused: await pausedModels(store.db) }
    disk?.close()
    disk = watchDisk(applied?.project.storage.minFreeBytes ?? 0)
    for (const loop of loops.values()) loop.wake()
  }
  // One after the other, so that the newest revision is the last to be taken into use.
  let loading: Promise<void> = load()
  const reload = (): Promise<void> => (loading = loading.then(load, load))
  await loading

  const job = <T>(
    kind: string,
    input: unknown,
    { timeoutMs = JOB_MS, signal }: { timeoutMs?: number; signal?: AbortSignal } = {},
  ) =>
    runJob<T>({
      kind,
      input,
      timeoutMs,
      signal,
      dataDir,
      onOutput: (text) => text.trim() !== '' && log.debug({ kind, text }, 'a job wrote'),
    })
  const lakeDir = join(dataDir, 'lake')
  const inspect = (place: ModelToMeasure, features: string[] | null) => {
    const timeoutMs = INSPECT_MS + (place.server?.readyTimeoutMs ?? 0)
    return job<{ signature: Signature }>('inspect', { ...place, features }, { timeoutMs })
  }
  const observations = new Observations(() => clock.monotonicMs())
  const publisher = await RoutePublisher.open(store)
  const runs = new RunController(
    context,
    stepRuntime({ dataDir, job: (kind, input, signal) => job(kind, input, { signal }) }),
  )
  const evaluations = new EvaluationController(
    context,
    { evaluate: (input) => job<EvaluateJobOutput>('evaluate', input), inspect },
    missingForAutomation,
  )
  const releases = new ReleaseController(context, observations, missingForAutomation, (input) =>
    job<TrialJobOutput>('trial', input, { timeoutMs: TRIAL_JOB_MS }),
  )
  const deployments = new DeploymentController(context, replicaRuntime({ dataDir, artifacts }), observations, publisher)
  const replicas = new ReplicasController(context, observations, publisher, availableParallelism())
  const gathers = new GatherController(context)
  const reevaluations = new ReevaluationController(context, (input) => job<ReevaluateJobOutput>('reevaluate', input))
  const retirements = new RetirementController(context, {
    gateways: () => observations.gateways(),
    readers: () => reevaluations.readers(),
  })
  const triggers = new TriggerController(context)
  const stability = new StabilityController(context)
  const ingest = new IngestController(context, (input) => job<IngestReport>('ingest', input))
  const serviceLevels = new ServiceLevelController(context, () => observations.gateways())
  const monitoring = new MonitoringController(context, {
    observe: (input) => job<Observation>('observe', input, { timeoutMs: OBSERVE_MS }),
    flushLake: () => ingest.flush(),
  })
  const notifications = new NotificationController(context, sendWebhook)
  const traffic = trafficBuffer(context)

  const services: Services = {
    context,
    observations,
    publisher,
    triggers,
    runs,
    retirements,
    reload,
    inspectModel: inspect,
    async queryLake(sql, limit) {
      await ingest.flush()
      const asOfMs = clock.calendarMs()
      return job<QueryResult>('query', {
        lakeDir,
        root: applied?.project.root ?? dataDir,
        sql,
        asOfMs,
        limitRows: limit,
      })
    },
    reconciliation: () =>
      settledBooks(async () =>
        reconcile(await lakeTotals(lakeDir), await spoolBacklog(join(dataDir, 'spool')), Date.now()),
      ),
    processes: async () => processViews(dataDir),
    metrics: (id) =>
      id === null || id === options.id ? controlMetricsText(services, loopTimes) : metricsOf(dataDir, id),
    clock: rehearsalControl(dataDir, clock),
    facts: {
      version: millraceVersion,
      startedAtMs,
      apiUrl: null,
      freeBytes: () => disk?.freeBytes ?? 0,
      minFreeBytes: () => applied?.project.storage.minFreeBytes ?? 0,
    },
  }
  const sockets = socketDir(dataDir)
  const server = createApiServer({
    handlers: createHandlers(services),
    internal: internalHandler({
      async onLease(lease) {
        const { changed } = observations.hearLease(lease)
        if (changed) for (const topic of ['deployment', 'release'] as const) loops.get(topic)?.wake()
        return { goal: deployments.goalOf(lease) }
      },
      async onGatewayReport(report) {
        const { changed } = observations.hearGateway(report)
        if (replicas.hear(report).someoneWaits) loops.get('replicas')?.wake()
        // Somebody waits for what a trial has counted: harm must not wait for the next flush.
        if (traffic.add(report).ofTrial) loops.get('traffic')?.wake()
        if (changed || deployments.isDraining()) loops.get('deployment')?.wake()
      },
      followRoutes: (follower) => publisher.follow(follower),
    }),
    identity: { id: options.id, token: options.token, pid: process.pid },
    metrics: {
      text: (id) => services.metrics(id),
      targets: (address) => scrapeTargets(dataDir, address),
    },
    token: ensureApiToken(dataDir),
    version: millraceVersion,
    onDefect: (error: unknown) => log.error({ err: error }, 'a call failed unexpectedly'),
  })
  await server.listenSocket(join(sockets, 'control.sock'))
  if (options.api !== null) services.facts.apiUrl = await server.listenTcp(options.api)

  const start = (name: LoopName, look: () => Promise<number | void>, everyMs = LOOK_EVERY_MS) =>
    loops.set(
      name,
      controlLoop({
        name,
        everyMs,
        run: loopTimes.timed(name, look),
        onError: (error, facts) => log.error({ ...facts, err: error }, `the ${name} loop failed`),
      }),
    )
  const listening = setInterval(() => observations.look(), LISTEN_EVERY_MS)
  const watching = setInterval(() => {
    if (deployments.isAnySilent()) loops.get('deployment')?.wake()
  }, SILENCE_LOOK_MS)
  start('trigger', () => triggers.look())
  start('run', () => runs.look())
  start('evaluation', () => evaluations.look())
  start('release', () => releases.look())
  start(
    'deployment',
    async () => {
      await gathers.look()
      return deployments.look()
    },
    DEPLOYMENT_LOOK_MS,
  )
  start('replicas', () => replicas.look())
  start('ingest', () => ingest.look(), 500)
  start(
    'retirement',
    lookOnNews(context, async () => {
      await reevaluations.look()
      return retirements.look()
    }),
    RETIREMENT_LOOK_MS,
  )
  start('monitoring', () => monitoring.look(), MONITORING_LOOK_MS)
  start('notification', () => notifications.look())
  start('traffic', () => traffic.flush(), TRAFFIC_FLUSH_MS)
  start(
    'stability',
    lookOnNews(context, () => stability.look()),
  )
  start('serviceLevel', () => serviceLevels.look(), SERVICE_LEVEL_LOOK_MS)
  log.info({ pid: process.pid, store: store.backend }, 'the control plane is up')

  const stop = async (): Promise<void> => {
    await Promise.all([...loops.values()].map((loop) => loop.stop()))
    clearInterval(listening)
    clearInterval(watching)
    await server.close()
    await traffic.flush()
    disk?.close()
    clock.close()
    await store.close()
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

type LoopName = Topic | 'replicas' | 'ingest' | 'traffic' | 'serviceLevel' | 'stability' | 'monitoring' | 'notification'

/** Which loops look when rows of a topic have changed. */
const wakes: Record<Topic, Topic[]> = {
  trigger: ['trigger'],
  run: ['run'],
  version: ['evaluation', 'release'],
  evaluation: ['evaluation'],
  release: ['release', 'deployment'],
  deployment: ['deployment', 'release'],
  route: ['deployment', 'evaluation'],
  retirement: ['retirement'],
}

async function processViews(dataDir: string): ReturnType<Services['processes']> {
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
