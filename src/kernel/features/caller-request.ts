import { callerSignature } from '../model/signature.ts'
import type { Signature } from '../model/signature.ts'
import { parseInferRequest, ProtocolError } from '../protocol/inference.ts'
import type { BodyForm, InferRequest } from '../protocol/inference.ts'

export interface CallerRequest {
  request: InferRequest
  /** It has every input of the model: what it says counts, and no table is asked. */
  isWhole: boolean
}

/**
 * Reads a request for a model of which tables give some inputs: without them, or, as a caller that has them may send it,
 * with all of them.
 * @throws ProtocolError 400, in terms of what callers are to send
 */
export function parseCallerRequest(body: Uint8Array | object, signature: Signature, form?: BodyForm): CallerRequest {
  if (signature.enriched === undefined) return { request: parseInferRequest(body, signature, form), isWhole: true }
  try {
    return { request: parseInferRequest(body, asked(signature), form), isWhole: false }
  } catch (refusal) {
    if (!(refusal instanceof ProtocolError)) throw refusal
    const request = wholeOrNull(body, signature, form)
    if (request === null) throw refusal
    return { request, isWhole: true }
  }
}

function wholeOrNull(body: Uint8Array | object, signature: Signature, form?: BodyForm): InferRequest | null {
  try {
    return parseInferRequest(body, signature, form)
  } catch (error) {
    if (error instanceof ProtocolError) return null
    throw error
  }
}

/** The same object each time: what is derived of a signature is kept by it. */
const known = new WeakMap<Signature, Signature>()

function asked(signature: Signature): Signature {
  let made = known.get(signature)
  if (made === undefined) known.set(signature, (made = callerSignature(signature)))
  return made
}
