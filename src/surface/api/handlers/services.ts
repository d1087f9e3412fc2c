import type { ControlContext } from '../../../control/control-context.ts'
import type { IngestController } from '../../../control/ingest/ingest-controller.ts'
import type { RunController } from '../../../control/pipeline/run-controller.ts'
import type { Observations } from '../../../control/release/observations.ts'
import type { RoutePublisher } from '../../../control/release/route-publisher.ts'
import type { ArtifactCollector } from '../../../control/retirement/artifact-collector.ts'
import type { RetirementController } from '../../../control/retirement/retirement-controller.ts'
import type { TriggerController } from '../../../control/trigger/trigger-controller.ts'
import type { Signature } from '../../../kernel/model/signature.ts'
import type { ModelToMeasure } from '../../../control/registry/server-place.ts'
import type { ClockView } from '../clock-schemas.ts'
import type { QueryResult, Reconciliation } from '../prediction-log-schemas.ts'
import type { StatusView } from '../status-schemas.ts'

/** What the handlers work with; put together in processes/control-plane.ts. */
export interface Services {
  context: ControlContext
  observations: Observations
  publisher: RoutePublisher
  triggers: Pick<TriggerController, 'views'>
  runs: Pick<RunController, 'heldBack'>
  retirements: Pick<RetirementController, 'outlook' | 'outside'>
  artifacts: Pick<ArtifactCollector, 'view'>
  ingest: Pick<IngestController, 'failing'>
  /** Takes the applied configuration into use. */
  reload(): Promise<void>
  /** Opens a model file in a process of its own. @throws ModelNotServableError */
  inspectModel(place: ModelToMeasure, features: string[] | null): Promise<{ signature: Signature }>
  queryLake(sql: string, limit: number): Promise<QueryResult>
  reconciliation(): Promise<Reconciliation>
  processes(): Promise<StatusView['processes']>
  /** For Prometheus, as text. @param process - null: of the control plane itself. @throws ProcessUnknownError, ProcessMetricsError */
  metrics(process: string | null): Promise<string>
  clock: RehearsalControl
  facts: { version: string; startedAtMs: number; apiUrl: string | null; freeBytes(): number; minFreeBytes(): number }
}

export interface RehearsalControl {
  view(): ClockView
  /** @throws where the calendar is the real one, or would go backwards */
  set(calendarMs: number): Promise<void>
  hold(by: string, why: string): Promise<void>
  release(by: string): Promise<void>
}
