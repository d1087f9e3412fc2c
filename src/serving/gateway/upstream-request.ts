import { FEED_HEADER, isFedOther } from '../../kernel/contract/fed.ts'
import type { EndpointRoute, RoutedDeployment } from '../../kernel/contract/routing.ts'
import type { Signature } from '../../kernel/model/signature.ts'
import { isLargeAnswer, largeInferRequest, parseInferRequest, ProtocolError } from '../../kernel/protocol/inference.ts'
import { atOnce } from '../../kernel/protocol/steps.ts'
import type { InferCall } from '../front/data-plane.ts'
import { processTurns } from '../front/in-turns.ts'
import { readInTurns } from './read-request.ts'
import type { UpstreamRequest } from './upstream/upstream.ts'

/** Headers that mean something to the model server; the others are the connection's or the client's own business. */
const FORWARDED = ['content-type', 'traceparent', 'tracestate'] as const

type Asked = Pick<InferCall, 'headers' | 'body' | 'jsonBytes' | 'cancellation'>

/**
 * One request as a replica is sent it.
 * @returns at once, but for what has to be put into other words; null where it was given up meanwhile
 */
export function upstreamRequest(
  route: EndpointRoute,
  deployment: RoutedDeployment,
  call: Asked,
): UpstreamRequest | Promise<UpstreamRequest | null> {
  const { headers, body, jsonBytes } = call
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
  const answerAs = { ...served, signature: deployment.signature }
  const sent = { model: foreignModel, version: '', body, jsonBytes, headers: forwarded, answerAs }
  if (jsonBytes === null) return sent
  return asJson(call, deployment.signature).then((plain) => (plain === null ? null : { ...sent, ...plain }))
}

/**
 * Binary tensors are an extension of the protocol that tritonclient uses unasked and few servers have: in JSON every
 * one understands them. What can't be put so (FP16, a request that is wrong) goes as it is, for the server to refuse.
 * In turns where it is much: bytes become several times as many of JSON.
 */
async function asJson(call: Asked, signature: Signature): Promise<Pick<UpstreamRequest, 'body' | 'jsonBytes'> | null> {
  const { body, jsonBytes, cancellation } = call
  try {
    const read = await readInTurns(call, signature)
    if (read === null) return null
    const { id, inputs, outputs } = parseInferRequest(read.body, signature, read.form)
    const steps = largeInferRequest({ id, inputs, outputs })
    if (!isLargeAnswer(inputs, NO_BINARY)) return { body: atOnce(steps), jsonBytes: null }
    const written = await processTurns.run(steps, () => cancellation.reason === null)
    return written === null ? null : { body: written, jsonBytes: null }
  } catch (error) {
    if (error instanceof ProtocolError) return { body, jsonBytes }
    throw error
  }
}

const NO_BINARY: ReadonlySet<string> = new Set()

/** What the replica calls itself: a fallback may be of another model, `model@version` then. */
function servedAs(routeModel: string, { model, version }: RoutedDeployment): { model: string; version: string } {
  const at = version.lastIndexOf('@')
  if (at < 0) return { model: model ?? routeModel, version }
  return { model: version.slice(0, at), version: version.slice(at + 1) }
}
