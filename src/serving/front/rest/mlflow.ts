import { mlflowErrorBody, mlflowFromAnswer, mlflowToInfer } from '../../../kernel/protocol/inference.ts'
import type { Answer } from '../answer.ts'
import type { DataPlane } from '../data-plane.ts'
import type { Call } from './call.ts'
import { errorText, otherHeaders } from './infer-answer.ts'
import { onlyName } from './model-name.ts'
import { inferTranslated, refuseTooLargeAnswer, translated, translatedAnswer } from './translated.ts'

/**
 * `POST /invocations`, below the endpoint's own path or, where there is one model, at the root.
 * @param name - null: at the root
 * @throws ProtocolError
 * @see MLflow, mlflow/pyfunc/scoring_server
 */
export async function mlflowInvocations(plane: DataPlane, name: string | null, call: Call): Promise<Answer | null> {
  const model = name ?? onlyName(plane, call.endpoints)
  const type = call.request.headers['content-type']
  const asked = translated(plane, model, (signature) => mlflowToInfer(type, call.body, signature))
  const answer = await inferTranslated(plane, model, asked, call)
  if (answer === null) return null
  if (answer.status >= 300) return mlflowError(answer.status, errorText(answer), otherHeaders(answer))
  refuseTooLargeAnswer(answer)
  return translatedAnswer(answer, mlflowFromAnswer(answer))
}

/** `GET /version`: of the server, as text. @throws ProtocolError 404 */
export function mlflowVersion(plane: DataPlane, name: string | null, { endpoints }: Call): Answer {
  plane.modelReadiness(name ?? onlyName(plane, endpoints), null)
  return { status: 200, headers: ['Content-Type', 'text/plain'], body: Buffer.from(plane.server.version) }
}

/** @see MLflow, protos/databricks.proto, "ErrorCode" */
export function mlflowError(status: number, message: string, headers: string[] = []): Answer {
  const body = mlflowErrorBody(message, CODES[status] ?? 'INTERNAL_ERROR')
  return { status, headers: ['Content-Type', 'application/json', ...headers], body: Buffer.from(body) }
}

const CODES: Record<number, string> = {
  400: 'BAD_REQUEST',
  401: 'UNAUTHENTICATED',
  403: 'PERMISSION_DENIED',
  404: 'RESOURCE_DOES_NOT_EXIST',
  413: 'BAD_REQUEST',
  415: 'BAD_REQUEST',
  429: 'REQUEST_LIMIT_EXCEEDED',
  503: 'TEMPORARILY_UNAVAILABLE',
  504: 'DEADLINE_EXCEEDED',
}
