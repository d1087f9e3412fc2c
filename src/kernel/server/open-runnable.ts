import { openModel } from '../model/onnx-model.ts'
import type { RunnableModel } from '../model/runnable-model.ts'
import { openServedModel } from './served-model.ts'
import type { ServerPlan } from './server-plan.ts'

/**
 * Opens a model as it will be served: an ONNX file in this process, anything else behind its own server.
 * @param options.features - names of the columns of a single `[N, K]` input; null: the model's own
 * @throws ModelNotServableError, ServerStartError, ServerMetadataError
 */
export function openRunnable(
  { modelPath, server }: { modelPath: string; server?: ServerPlan },
  options: { features: string[] | null },
): Promise<RunnableModel> {
  return server === undefined ? openModel(modelPath, options) : openServedModel(server, options.features)
}
