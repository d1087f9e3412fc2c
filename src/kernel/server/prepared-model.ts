import { messageOf } from '../errors.ts'
import { openModel } from '../model/onnx-model.ts'
import type { RunnableModel } from '../model/runnable-model.ts'
import type { Signature } from '../model/signature.ts'
import type { Tensor } from '../model/tensor.ts'
import { PrepareAnswerError } from './errors.ts'
import { prepareBody, verdictOf } from './prepare-exchange.ts'
import { preparedSignature } from './prepare-fit.ts'
import { servedSignature } from './served-model.ts'
import type { PreparePlan } from './server-plan.ts'
import { startServer } from './server-process.ts'
import { v2Client, type V2Answer, type V2Client } from './v2-client.ts'

/** Of one run; a chunk of rows may well take long where nobody waits for it. */
const RUN_TIMEOUT_MS = 300_000
const STOP_GRACE_MS = 5_000

/**
 * Opens a model with the step that stands before it, started in isolation, as one model: it takes what callers send and
 * gives what the model gives. So what is measured is what answers.
 * @param features - names of the columns of a single `[N, K]` input of the step
 * @throws ModelNotServableError, ServerStartError, ServerMetadataError, PrepareFitError
 */
export async function openPreparedModel(
  modelPath: string,
  plan: PreparePlan,
  features: string[] | null,
): Promise<RunnableModel> {
  const model = await openModel(modelPath)
  try {
    const step = await openStep(plan, features, model.signature)
    const { signature } = step
    const run: RunnableModel['run'] = async (inputs, outputs) =>
      model.run(await step.prepare(inputs), outputs ?? undefined)
    const close = async () => {
      await step.close()
      await model.close()
    }
    return { signature, run, close }
  } catch (error) {
    await model.close()
    throw error
  }
}

interface OpenStep {
  signature: Signature
  prepare(inputs: Record<string, Tensor>): Promise<Record<string, Tensor>>
  close(): Promise<void>
}

async function openStep(plan: PreparePlan, features: string[] | null, model: Signature): Promise<OpenStep> {
  const server = await startServer(plan)
  const client = v2Client(server.httpPort)
  const close = async () => {
    client.close()
    await server.stop(STOP_GRACE_MS)
  }
  try {
    await server.ready()
    const signature = preparedSignature(await servedSignature(client, plan.modelName, features, plan.role), model)
    return { signature, prepare: (inputs) => prepare(client, plan.modelName, model, inputs), close }
  } catch (error) {
    await close()
    throw error
  }
}

/** @throws PrepareAnswerError */
async function prepare(
  client: V2Client,
  name: string,
  model: Signature,
  inputs: Record<string, Tensor>,
): Promise<Record<string, Tensor>> {
  const rows = Object.values(inputs)[0]?.shape[0] ?? 1
  const verdict = verdictOf(await answerOf(client, name, prepareBody(inputs)), model, rows)
  switch (verdict.kind) {
    case 'fed':
      return verdict.fed
    case 'refused':
      throw new PrepareAnswerError(`it refuses values with ${verdict.status}: ${verdict.why}`, false)
    case 'busy':
      throw new PrepareAnswerError(verdict.why, false)
    case 'failed':
      throw verdict.error
  }
}

async function answerOf(client: V2Client, name: string, body: Buffer): Promise<V2Answer> {
  try {
    return await client.post(`/v2/models/${encodeURIComponent(name)}/infer`, body, null, RUN_TIMEOUT_MS)
  } catch (error) {
    throw new PrepareAnswerError(messageOf(error), false, error)
  }
}
