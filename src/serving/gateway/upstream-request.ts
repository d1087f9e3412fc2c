import { FEED_HEADER, isFedOther } from '../../kernel/contract/fed.ts'
import type { EndpointRoute, RoutedDeployment } from '../../kernel/contract/routing.ts'
import type { Signature } from '../../kernel/model/signature.ts'
import { encodeInferRequest, parseInferRequest, ProtocolError } from '../../kernel/protocol/inference.ts'
import type { InferCall } from '../front/data-plane.ts'
import type { UpstreamRequest } from './upstream/upstream.ts'

/** Headers that mean something to the model server; the others are the connection's or the client's own business. */
const FORWARDED = ['content-type', 'traceparent', 'tracestate'] as const

export function upstreamRequest(
  route: EndpointRoute,
  deployment: RoutedDeployment,
  { headers, body, jsonBytes }: Pick<InferCall, 'headers' | 'body' | 'jsonBytes'>,
): UpstreamRequest {
  const { foreignModel } = deployment
  const forwarded: string[] = []
  for (const name of FORWARDED) {
    // Clients may send any type, or none; a server of someone else's may insist on the protocol's, which the upstream sets.
    if (name === 'content-type' && foreignModel !== undefined) continue
    const value = headers[name]
    if (typeof value === 'string') forwarded.push(name, value)
  }
  if (isFedOther(deployment.signature)) forwarded.push(FEED_HEADER, '1')
  const served = servedAs(route.model, deployment)
  if (foreignModel === undefined) return { ...served, body, jsonBytes, headers: forwarded }
  const plain = jsonBytes === null ? { body, jsonBytes } : asJson(body, jsonBytes, deployment.signature)
  return { model: foreignModel, version: '', ...plain, headers: forwarded, answerAs: served }
}

/**
 * Binary tensors are an extension of the protocol that tritonclient uses unasked and few servers have: in JSON every
 * one understands them. What can't be put so (FP16, a request that is wrong) goes as it is, for the server to refuse.
 */
function asJson(body: Buffer, jsonBytes: number, signature: Signature): Pick<UpstreamRequest, 'body' | 'jsonBytes'> {
  try {
    const { id, inputs, outputs } = parseInferRequest(body, signature, { jsonBytes })
    return { body: Buffer.from(encodeInferRequest({ id, inputs, outputs })), jsonBytes: null }
  } catch (error) {
    if (error instanceof ProtocolError) return { body, jsonBytes }
    throw error
  }
}

/** What the replica calls itself: a fallback may be of another model, `model@version` then. */
function servedAs(routeModel: string, { model, version }: RoutedDeployment): { model: string; version: string } {
  const at = version.lastIndexOf('@')
  if (at < 0) return { model: model ?? routeModel, version }
  return { model: version.slice(0, at), version: version.slice(at + 1) }
}
