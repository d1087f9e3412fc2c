import { errorAnswer } from '../answer.ts'
import type { Answer } from '../answer.ts'
import type { InferAnswer } from '../data-plane.ts'
import { errorTextOf } from '../error-text.ts'

/** Said here, by the form of the body. */
const OF_THE_BODY: ReadonlySet<string> = new Set(['content-type', 'content-length', 'inference-header-content-length'])

/** Lower case is only made of what may be one of them. */
function isOfTheBody(name: string): boolean {
  switch (name.length) {
    case 12:
    case 14:
    case 31:
      return OF_THE_BODY.has(name.toLowerCase())
    default:
      return false
  }
}

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
  if (status >= 400 && body[0] !== BRACE) return { ...answer, ...errorAnswer(status, errorText(answer), others) }
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
    if (!isOfTheBody(name)) others.push(name, headers[i + 1] as string)
  }
  return others
}

const LETTERS_MAX = 4_000

/** The error of an answer as text. */
export function errorText({ status, body }: Answer): string {
  return errorTextOf({ body }, LETTERS_MAX) || `The model server answered with status ${status} and said nothing.`
}
