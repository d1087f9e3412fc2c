import { ProtocolError } from '../../../kernel/protocol/inference.ts'
import { errorAnswer } from '../answer.ts'
import type { Answer } from '../answer.ts'
import { CODINGS } from './content-coding.ts'
import { mlflowError } from './mlflow.ts'
import type { Target } from './target.ts'

/** A protocol's error in the words of the protocol that was asked. @throws the error where it is none */
export function refusal(target: Target, error: unknown): Answer {
  if (!(error instanceof ProtocolError)) throw error
  const { status, message } = error
  const retry = status === 503 ? ['Retry-After', '1'] : []
  if (target.kind === 'mlflow-invocations') return mlflowError(status, message, retry)
  // Elsewhere any Content-Type will do: 415 is about how the body is packed.
  return errorAnswer(status, message, status === 415 ? ['Accept-Encoding', CODINGS.join(', ')] : retry)
}
