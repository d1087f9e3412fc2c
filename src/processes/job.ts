import { runEvaluateJob, type EvaluateJobInput } from '../control/evaluation/evaluate-job.ts'
import type { ObserveInput } from '../control/monitoring/observation.ts'
import { runObserveJob } from '../control/monitoring/observe-job.ts'
import type { ModelToMeasure } from '../control/registry/server-place.ts'
import { runTrialJob, type TrialJobInput } from '../control/release/trial-job.ts'
import { runReevaluateJob, type ReevaluateJobInput } from '../control/retirement/reevaluate-job.ts'
import { readFeatureTables } from '../kernel/features/read-tables.ts'
import { runIngestJob, type IngestInput } from '../kernel/lake/ingest.ts'
import { materialiseSql, runQueryJob, type LakeSqlInput } from '../kernel/lake/query.ts'
import { runJobMain, type JobTools } from '../kernel/runtime/job-main.ts'
import { openRunnable } from '../kernel/server/open-runnable.ts'

/** The bodies of all jobs. The process is short-lived, and the control plane never loads DuckDB or ONNX Runtime. */
await runJobMain({
  evaluate: (input: EvaluateJobInput, tools: JobTools) =>
    runEvaluateJob(input, (fraction, text) => tools.progress({ fraction, text })),
  async inspect(input: ModelToMeasure & { features: string[] | null }) {
    const model = await openRunnable(input, { features: input.features })
    await model.close()
    const { tables = [] } = input
    if (tables.length === 0) return { signature: model.signature }
    return { signature: (await readFeatureTables(tables, model.signature)).signature }
  },
  trial: (input: TrialJobInput) => runTrialJob(input),
  reevaluate: (input: ReevaluateJobInput) => runReevaluateJob(input),
  ingest: (input: IngestInput) => runIngestJob(input),
  observe: (input: ObserveInput) => runObserveJob(input),
  query: (input: LakeSqlInput & { limitRows?: number }) => runQueryJob(input),
  materialise: (input: LakeSqlInput & { outPath: string }) => materialiseSql(input),
})
