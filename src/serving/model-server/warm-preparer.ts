import { messageOf } from '../../kernel/errors.ts'
import type { RunnableModel } from '../../kernel/model/runnable-model.ts'
import type { Signature } from '../../kernel/model/signature.ts'
import type { Tensor } from '../../kernel/model/tensor.ts'
import { ProtocolError } from '../../kernel/protocol/inference.ts'
import { PrepareAnswerError } from '../../kernel/server/errors.ts'
import type { Preparer } from './prepare-step.ts'
import { syntheticInputs, zeroInputs } from './warm-up.ts'

/** Nobody waits for it but the replica that is not ready yet. */
const WARM_UP_MS = 60_000

/**
 * One row through the step and the model, so that the first caller finds both awake. Rows are made up, and may well be
 * refused: that alone says nothing against the pair.
 * @param signature - what callers send
 * @returns why made-up rows were refused; null where one went through
 * @throws ProtocolError where the step is gone, or its answer is nothing that the model could take
 */
export async function warmThrough(
  preparer: Preparer,
  signature: Signature,
  model: Pick<RunnableModel, 'run'>,
): Promise<string | null> {
  let why = null
  for (const inputs of [syntheticInputs(signature, 1), zeroInputs(signature)]) {
    why = await refusalOf(inputs, preparer, model)
    if (why === null) return null
  }
  return why
}

async function refusalOf(
  inputs: Record<string, Tensor>,
  preparer: Preparer,
  model: Pick<RunnableModel, 'run'>,
): Promise<string | null> {
  const rows = Object.values(inputs)[0]?.shape[0] ?? 1
  try {
    await model.run(await preparer.prepare({ inputs, rows, deadlineMs: performance.now() + WARM_UP_MS }))
    return null
  } catch (error) {
    if (preparer.downWhy !== null || isMisfit(error)) throw error
    return messageOf(error)
  }
}

const isMisfit = (error: unknown): boolean =>
  error instanceof ProtocolError && error.cause instanceof PrepareAnswerError && error.cause.isMisfit
