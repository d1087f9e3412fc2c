import { openModel } from '../model/onnx-model.ts'
import type { RunnableModel } from '../model/runnable-model.ts'
import { openPreparedModel } from './prepared-model.ts'
import { openServedModel } from './served-model.ts'
import type { PreparePlan, ServerPlan } from './server-plan.ts'

/** Where a model is and who stands before it, or in its place. */
export interface ModelPlace {
  modelPath: string
  /** The server that it is asked through; absent: its ONNX file is run here. */
  server?: ServerPlan
  /** The step that prepares what its ONNX file is fed; absent: it is fed what callers send. */
  prepare?: PreparePlan
}

/**
 * Opens a model as it will be served: an ONNX file in this process, behind its preparing step where it has one, anything
 * else behind its own server.
 * @param options.features - names of the columns of a single `[N, K]` input; null: the model's own
 * @throws ModelNotServableError, ServerStartError, ServerMetadataError, PrepareFitError
 */
export function openRunnable(
  { modelPath, server, prepare }: ModelPlace,
  { features }: { features: string[] | null },
): Promise<RunnableModel> {
  if (server !== undefined) return openServedModel(server, features)
  return prepare === undefined ? openModel(modelPath, { features }) : openPreparedModel(modelPath, prepare, features)
}
