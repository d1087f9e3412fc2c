import { availableParallelism } from 'node:os'
import { missingForAutomation } from '../config/missing-for-automation.ts'
import type { ControlContext } from '../control/control-context.ts'
import { EvaluationController } from '../control/evaluation/evaluation-controller.ts'
import { StabilityController } from '../control/evaluation/stability-controller.ts'
import { IngestController } from '../control/ingest/ingest-controller.ts'
import { lookOnNews } from '../control/look-on-news.ts'
import { MonitoringController } from '../control/monitoring/monitoring-controller.ts'
import { NotificationController } from '../control/monitoring/notification-controller.ts'
import { sendWebhook } from '../control/monitoring/send-webhook.ts'
import { RunController } from '../control/pipeline/run-controller.ts'
import { DeploymentController } from '../control/release/deployment-controller.ts'
import { GatherController } from '../control/release/gather-controller.ts'
import { Observations } from '../control/release/observations.ts'
import { ReleaseController } from '../control/release/release-controller.ts'
import { ReplicasController } from '../control/release/replicas-controller.ts'
import { RoutePublisher } from '../control/release/route-publisher.ts'
import { ArtifactCollector } from '../control/retirement/artifact-collector.ts'
import { SWEEP_LIMITS } from '../control/retirement/housekeeping.ts'
import { ReevaluationController } from '../control/retirement/reevaluation-controller.ts'
import { RetirementController } from '../control/retirement/retirement-controller.ts'
import { ServiceLevelController } from '../control/service-level/service-level-controller.ts'
import { trafficBuffer, type TrafficBuffer } from '../control/service-level/traffic-buffer.ts'
import { TriggerController } from '../control/trigger/trigger-controller.ts'
import type { ControlJobs } from './control-jobs.ts'
import type { ControlLoops } from './control-loops.ts'
import { replicaRuntime } from './local-replicas.ts'
import { stepRuntime } from './local-steps.ts'

/** While every replica is as wanted. What is on its way is looked at sooner, and what falls silent wakes the loop. */
const DEPLOYMENT_LOOK_MS = 2_000
/** Nobody waits for it, and each look reads all that could hold a version. */
const RETIREMENT_LOOK_MS = 2_000
const INGEST_LOOK_MS = 500
const TRAFFIC_FLUSH_MS = 1_000
const MONITORING_LOOK_MS = 500
const SERVICE_LEVEL_LOOK_MS = 5_000
/** A pass is due far more seldom, and asks for its next look itself. */
const ARTIFACTS_LOOK_MS = 60_000

/** What decides, stage by stage, and what replicas and gateways say to it. */
export interface ControlStages {
  observations: Observations
  publisher: RoutePublisher
  traffic: TrafficBuffer
  triggers: TriggerController
  runs: RunController
  evaluations: EvaluationController
  stability: StabilityController
  releases: ReleaseController
  deployments: DeploymentController
  gathers: GatherController
  replicas: ReplicasController
  ingest: IngestController
  reevaluations: ReevaluationController
  retirements: RetirementController
  artifacts: ArtifactCollector
  serviceLevels: ServiceLevelController
  monitoring: MonitoringController
  notifications: NotificationController
}

export async function openStages(context: ControlContext, jobs: ControlJobs): Promise<ControlStages> {
  const { dataDir, artifacts, clock, log, store } = context
  const observations = new Observations(() => clock.monotonicMs())
  const publisher = await RoutePublisher.open(store)
  const steps = stepRuntime({
    dataDir,
    job: (kind, input, signal) => jobs.ofStep(kind, input, signal),
    onSurvivor: (error) => log.error({ err: error }, 'processes outlive the step that started them'),
  })
  const replicas = replicaRuntime({ dataDir, artifacts })
  const ingest = new IngestController(context, (input) => jobs.ingest(input))
  const reevaluations = new ReevaluationController(context, (input) => jobs.reevaluate(input))
  return {
    observations,
    publisher,
    traffic: trafficBuffer(context),
    triggers: new TriggerController(context),
    runs: new RunController(context, steps),
    evaluations: new EvaluationController(context, jobs, missingForAutomation),
    stability: new StabilityController(context),
    releases: new ReleaseController(context, observations, missingForAutomation, (input) => jobs.trial(input)),
    deployments: new DeploymentController(context, replicas, observations, publisher),
    gathers: new GatherController(context),
    replicas: new ReplicasController(context, observations, publisher, availableParallelism()),
    ingest,
    reevaluations,
    retirements: new RetirementController(context, {
      gateways: () => observations.gateways(),
      readers: () => reevaluations.readers(),
    }),
    artifacts: new ArtifactCollector(context, SWEEP_LIMITS),
    serviceLevels: new ServiceLevelController(context, () => observations.gateways()),
    monitoring: new MonitoringController(context, {
      observe: (input) => jobs.observe(input),
      flushLake: () => ingest.flush(),
    }),
    notifications: new NotificationController(context, sendWebhook),
  }
}

export function startLoops(stages: ControlStages, context: ControlContext, loops: ControlLoops): void {
  loops.start('trigger', () => stages.triggers.look())
  loops.start('run', () => stages.runs.look())
  loops.start('evaluation', () => stages.evaluations.look())
  loops.start('release', () => stages.releases.look())
  const deploy = async () => {
    await stages.gathers.look()
    return stages.deployments.look()
  }
  loops.start('deployment', deploy, DEPLOYMENT_LOOK_MS)
  loops.start('replicas', () => stages.replicas.look())
  loops.start('ingest', () => stages.ingest.look(), INGEST_LOOK_MS)
  const retire = async () => {
    await stages.reevaluations.look()
    return stages.retirements.look()
  }
  loops.start('retirement', lookOnNews(context, retire), RETIREMENT_LOOK_MS)
  loops.start('artifacts', () => stages.artifacts.look(), ARTIFACTS_LOOK_MS)
  loops.start('monitoring', () => stages.monitoring.look(), MONITORING_LOOK_MS)
  loops.start('notification', () => stages.notifications.look())
  loops.start('traffic', () => stages.traffic.flush(), TRAFFIC_FLUSH_MS)
  const measureStability = () => stages.stability.look()
  loops.start('stability', lookOnNews(context, measureStability))
  loops.start('serviceLevel', () => stages.serviceLevels.look(), SERVICE_LEVEL_LOOK_MS)
}
