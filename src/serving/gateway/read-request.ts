import type { Signature } from '../../kernel/model/signature.ts'
import { isLargeJson, parseLargeRequest } from '../../kernel/protocol/inference.ts'
import type { BodyForm } from '../../kernel/protocol/inference.ts'
import type { InferCall } from '../front/data-plane.ts'
import { processTurns } from '../front/in-turns.ts'

/** For parseInferRequest. */
export interface Readable {
  body: Uint8Array | object
  form: BodyForm
}

/**
 * Where the gateway itself has to read a request: large JSON is read in turns before, so that the rest costs little.
 * @returns null where it was given up meanwhile
 * @throws ProtocolError as parseLargeRequest
 */
export async function readInTurns(
  { body, jsonBytes, cancellation }: Pick<InferCall, 'body' | 'jsonBytes' | 'cancellation'>,
  signature: Signature,
): Promise<Readable | null> {
  const form = { jsonBytes }
  if (!isLargeJson(body, jsonBytes)) return { body, form }
  const read = await processTurns.run(parseLargeRequest(body, signature, form), () => cancellation.reason === null)
  return read === null ? null : { body: read.json, form: read.form }
}
