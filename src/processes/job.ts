import { runEvaluateJob, type EvaluateJobInput } from '../control/evaluation/evaluate-job.ts'
import { runIngestJob, type IngestInput } from '../kernel/lake/ingest.ts'
import { materialiseSql, runQueryJob, type LakeSqlInput } from '../kernel/lake/query.ts'
import { inspectOnnx, openModel } from '../kernel/model/onnx-model.ts'
import { runJobMain, type JobTools } from '../kernel/runtime/job-main.ts'

/** The bodies of all jobs. The process is short-lived, and the control plane never loads DuckDB or ONNX Runtime. */
await runJobMain({
  evaluate: (input: EvaluateJobInput, tools: JobTools) =>
    runEvaluateJob(input, (fraction, text) => tools.progress({ fraction, text })),
  async inspect(input: { modelPath: string; features: string[] | null }) {
    await inspectOnnx(input.modelPath)
    const model = await openModel(input.modelPath, { features: input.features })
    return { signature: model.signature }
  },
  ingest: (input: IngestInput) => runIngestJob(input),
  query: (input: LakeSqlInput & { limitRows?: number }) => runQueryJob(input),
  materialise: (input: LakeSqlInput & { outPath: string }) => materialiseSql(input),
})
