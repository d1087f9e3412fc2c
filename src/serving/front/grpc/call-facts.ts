import type { Metadata, ServerDuplexStream, ServerUnaryCall, ServerWritableStream } from '@grpc/grpc-js'
import { isLoopbackAddress } from '../../../kernel/loopback.ts'
import type { RequestHead } from '../http/http-front.ts'
import type { Answer } from '../answer.ts'

export type AnyCall =
  | ServerUnaryCall<unknown, unknown>
  | ServerDuplexStream<unknown, unknown>
  | ServerWritableStream<unknown, unknown>

/** A call as its caller is known by: the same that a request over HTTP says of itself. */
export function headOf(call: AnyCall): RequestHead {
  const address = addressOf(call.getPeer())
  const name: unknown = call.getAuthContext().sslPeerCertificate?.subject?.CN
  const commonName = typeof name === 'string' ? name : null
  return {
    method: 'POST',
    target: '/inference.GRPCInferenceService',
    headers: textHeaders(call.metadata),
    peer: { address, isLocal: isLoopbackAddress(address), isSocket: false, commonName },
  }
}

/** `127.0.0.1:5000`, `[::1]:5000`. */
function addressOf(peer: string): string {
  return peer.slice(0, peer.lastIndexOf(':')).replace(/^\[|\]$/g, '')
}

/** Without `accept`: there is one form of answer, and no stream of events. */
function textHeaders(metadata: Metadata): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const [name, value] of Object.entries(metadata.getMap()))
    if (typeof value === 'string' && name !== 'accept') headers[name] = value
  return headers
}

/** How long the client still waits; null where it has set no deadline. */
export function timeoutMsOf(call: AnyCall, nowMs: number): number | null {
  const deadline = call.getDeadline()
  const atMs = deadline instanceof Date ? deadline.getTime() : deadline
  return Number.isFinite(atMs) ? Math.max(1, atMs - nowMs) : null
}

/** Headers of an answer that are the same in every protocol: ids, versions, when to try again. */
export function metadataOf({ headers }: Answer, metadata: Metadata): Metadata {
  for (let i = 0; i < headers.length; i += 2) {
    const name = (headers[i] as string).toLowerCase()
    if (name.startsWith('millrace-') || name === 'retry-after' || name === 'traceresponse')
      metadata.set(name, headers[i + 1] as string)
  }
  return metadata
}
