import type { IncomingMessage } from 'node:http'

import { ApiBodyTooLargeError, ApiRequestError } from './errors.ts'

const BODY_MAX_BYTES = 8 * 1024 * 1024
/** Of a body that is too large so much is read and thrown away: who still writes would not see the answer. */
const DISCARD_MAX_BYTES = 64 * 1024 * 1024

/**
 * The whole body as JSON; an empty one is `{}`. Only JSON is taken: form posts, which any web page can send without
 * asking, are refused. How long it may take is limited by the server's `requestTimeout`.
 * @throws ApiBodyTooLargeError, ApiRequestError
 */
export async function readJsonBody(request: IncomingMessage, limitBytes = BODY_MAX_BYTES): Promise<unknown> {
  const type = (request.headers['content-type'] ?? 'application/json').toLowerCase()
  if (!/^application\/json\s*(;|$)/.test(type))
    throw new ApiRequestError(
      `The control API takes application/json, not ${type}.`,
      "Send 'Content-Type: application/json'.",
    )
  const declared = Number(request.headers['content-length'] ?? 0)
  if (declared > DISCARD_MAX_BYTES) throw new ApiBodyTooLargeError(limitBytes)
  let chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > DISCARD_MAX_BYTES) throw new ApiBodyTooLargeError(limitBytes)
    if (size > limitBytes) chunks = []
    else chunks.push(chunk)
  }
  if (size > limitBytes) throw new ApiBodyTooLargeError(limitBytes)
  return parsed(Buffer.concat(chunks))
}

function parsed(bytes: Buffer): unknown {
  if (bytes.length === 0) return {}
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)) as unknown
  } catch (error) {
    throw new ApiRequestError(`The body is not JSON: ${(error as Error).message}.`, 'Send one JSON document in UTF-8.')
  }
}
