import { v1FromAnswer, v1ToInfer } from '../../../kernel/protocol/inference.ts'
import type { Answer } from '../answer.ts'
import type { DataPlane } from '../data-plane.ts'
import type { Call } from './call.ts'
import { v2Answer } from './infer-answer.ts'
import { inferTranslated, refuseTooLargeAnswer, translated, translatedAnswer } from './translated.ts'

/**
 * `POST /v1/models/M:predict`. Errors have the same form as in v2.
 * @throws ProtocolError
 * @see KServe, "V1 Inference Protocol"
 */
export async function v1Predict(plane: DataPlane, name: string, call: Call): Promise<Answer | null> {
  const asked = translated(plane, name, (signature) => v1ToInfer(call.body, signature))
  const answer = await inferTranslated(plane, name, asked, call)
  if (answer === null) return null
  if (answer.status >= 300) return v2Answer(answer)
  refuseTooLargeAnswer(answer)
  return translatedAnswer(answer, v1FromAnswer(answer))
}
