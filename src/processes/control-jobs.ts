import type { EvaluationRuntime } from '../control/evaluation/evaluation-controller.ts'
import type { EvaluateJobOutput } from '../control/evaluation/evaluate-job.ts'
import type { MonitoringJobs } from '../control/monitoring/monitoring-controller.ts'
import type { Observation } from '../control/monitoring/observation.ts'
import type { TrialJobInput, TrialJobOutput } from '../control/release/trial-job.ts'
import type { ReevaluateJobInput, ReevaluateJobOutput } from '../control/retirement/reevaluate-job.ts'
import { atMost } from '../kernel/lake/at-most.ts'
import type { IngestInput, IngestReport } from '../kernel/lake/ingest.ts'
import type { LakeSqlInput, QueryResult } from '../kernel/lake/query.ts'
import type { Log } from '../kernel/log.ts'
import type { Signature } from '../kernel/model/signature.ts'
import { runJob } from '../kernel/runtime/job.ts'

const JOB_MS = 30 * 60_000
const INSPECT_MS = 120_000
const TRIAL_JOB_MS = 60_000
const OBSERVE_MS = 5 * 60_000
/** A query stops itself after a minute, unless it is in a single long act. */
const QUERY_JOB_MS = 2 * 60_000
const QUERIES_MAX = 4

/** What the control plane has done in processes of their own; the other side is job.ts. */
export interface ControlJobs extends EvaluationRuntime, Pick<MonitoringJobs, 'observe'> {
  trial(input: TrialJobInput): Promise<TrialJobOutput>
  reevaluate(input: ReevaluateJobInput): Promise<ReevaluateJobOutput>
  ingest(input: IngestInput): Promise<IngestReport>
  query(input: LakeSqlInput & { limitRows: number }): Promise<QueryResult>
  /** For a step of a run. */
  ofStep<T>(kind: string, input: unknown, signal: AbortSignal): Promise<T>
}

export function controlJobs(dataDir: string, log: Log): ControlJobs {
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
  return {
    evaluate: (input) => job<EvaluateJobOutput>('evaluate', input),
    inspect(place, features) {
      const timeoutMs = INSPECT_MS + ((place.server ?? place.prepare)?.readyTimeoutMs ?? 0)
      return job<{ signature: Signature }>('inspect', { ...place, features }, { timeoutMs })
    },
    trial: (input) => job<TrialJobOutput>('trial', input, { timeoutMs: TRIAL_JOB_MS }),
    observe: (input) => job<Observation>('observe', input, { timeoutMs: OBSERVE_MS }),
    reevaluate: (input) => job<ReevaluateJobOutput>('reevaluate', input),
    ingest: (input) => job<IngestReport>('ingest', input),
    query: atMost(QUERIES_MAX, (input) => job<QueryResult>('query', input, { timeoutMs: QUERY_JOB_MS })),
    ofStep: (kind, input, signal) => job(kind, input, { signal }),
  }
}
