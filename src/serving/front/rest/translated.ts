import type { Signature } from '../../../kernel/model/signature.ts'
import { ProtocolError } from '../../../kernel/protocol/inference.ts'
import type { EncodedBody } from '../../../kernel/protocol/inference.ts'
import type { Answer } from '../answer.ts'
import type { DataPlane, InferAnswer } from '../data-plane.ts'
import type { Call } from './call.ts'
import { otherHeaders } from './infer-answer.ts'

/**
 * Of a request or an answer of another protocol: it is made into another form as a whole, which holds everything else up
 * for some tens of milliseconds a megabyte of CSV, and half as long of JSON.
 */
export const TRANSLATED_BYTES_MAX = 32 * 1024 * 1024

const OVER_V2 = 'larger ones go over v2 (POST /v2/models/NAME/infer), best as binary tensors'

/** @param bytes - that a request says it has @throws ProtocolError 413 */
export function refuseTooLargeToTranslate(bytes: number): void {
  if (bytes <= TRANSLATED_BYTES_MAX) return
  throw new ProtocolError(
    413,
    `The request has ${bytes} bytes, and this protocol takes at most ${TRANSLATED_BYTES_MAX}: ${OVER_V2}.`,
  )
}

const NOTHING: EncodedBody = { body: Buffer.from('{}'), jsonBytes: null }

/**
 * A request in the common form. Where nothing of the model can be described now it stays empty: the data plane is asked
 * all the same, since it says why, and counts it as any other request that it can't serve.
 * @throws ProtocolError 404 unknown model; 400 and others of `translate`
 */
export function translated(
  plane: DataPlane,
  name: string,
  translate: (signature: Signature) => EncodedBody,
): EncodedBody {
  let signature: Signature
  try {
    signature = plane.describe(name, null).signature
  } catch (error) {
    if (error instanceof ProtocolError && error.status === 503) return NOTHING
    throw error
  }
  return translate(signature)
}

/** Asks the data plane in the common form what came in another protocol, whose versions nobody can name. */
export function inferTranslated(
  plane: DataPlane,
  name: string,
  { body, jsonBytes }: EncodedBody,
  { request, caller }: Call,
): Promise<InferAnswer | null> {
  // What the client says of its own body is not true of this one; and events could not be translated back.
  const headers = { ...request.headers, 'content-type': undefined, accept: undefined }
  return plane.infer({ name, version: null, headers, body, jsonBytes, caller, cancellation: request.cancellation })
}

/** @throws ProtocolError 500 where an answer is too large to be made into another protocol's */
export function refuseTooLargeAnswer({ body }: InferAnswer): void {
  if (body.length <= TRANSLATED_BYTES_MAX) return
  throw new ProtocolError(
    500,
    `The answer has ${body.length} bytes, and this protocol gives at most ${TRANSLATED_BYTES_MAX}: ${OVER_V2}.`,
  )
}

/** The same answer with a body in another protocol. */
export function translatedAnswer(answer: InferAnswer, body: Buffer): Answer {
  return { ...answer, headers: ['Content-Type', 'application/json', ...otherHeaders(answer)], body }
}
