import { errorAnswer } from '../answer.ts'
import type { Answer } from '../answer.ts'
import type { InferAnswer } from '../data-plane.ts'

/** Said here, by the form of the body. */
const OF_THE_BODY: ReadonlySet<string> = new Set(['content-type', 'content-length', 'inference-header-content-length'])

const BRACE = 0x7b

/**
 * An answer of the data plane as a v2 client gets it: its Content-Type is exactly `application/json`, or, where bytes of
 * tensors follow the JSON, `application/octet-stream` with the length of the JSON.
 * @see Triton's extension_binary_data.md
 */
export function v2Answer(answer: InferAnswer): Answer {
  if (answer.stream !== undefined) return answer
  const { status, jsonBytes, body } = answer
  const others = otherHeaders(answer)
  // A model server of someone else's may word its errors as it likes; v2 clients read only one form.
  if (status >= 400 && body[0] !== BRACE) return { ...answer, ...errorAnswer(status, textOf(answer), others) }
  const headers =
    jsonBytes === null
      ? ['Content-Type', 'application/json', ...others]
      : ['Content-Type', 'application/octet-stream', 'Inference-Header-Content-Length', String(jsonBytes), ...others]
  return { ...answer, headers }
}

/** What else the data plane says of its answer. */
export function otherHeaders({ headers }: Answer): string[] {
  const others: string[] = []
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] as string
    if (!OF_THE_BODY.has(name.toLowerCase())) others.push(name, headers[i + 1] as string)
  }
  return others
}

const TEXT_MAX = 1_000

function textOf({ status, body }: Answer): string {
  const text = body.toString('utf8', 0, TEXT_MAX).trim()
  return text === '' ? `The model server answered with status ${status} and said nothing.` : text
}

/** The error of an answer as text, for protocols that word it otherwise. */
export function errorTextOf(answer: Answer): string {
  try {
    const { error } = JSON.parse(answer.body.toString()) as { error?: unknown }
    return typeof error === 'string' ? error : textOf(answer)
  } catch {
    return textOf(answer) // it is no JSON: as it stands
  }
}
