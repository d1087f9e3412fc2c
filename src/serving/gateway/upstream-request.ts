import type { EndpointRoute, RoutedDeployment } from '../../kernel/contract/routing.ts'
import type { InferCall } from '../front/data-plane.ts'
import type { UpstreamRequest } from './upstream/upstream.ts'

/** Headers that mean something to the model server; the others are the connection's or the client's own business. */
const FORWARDED = ['content-type', 'traceparent', 'tracestate'] as const

export function upstreamRequest(
  route: EndpointRoute,
  deployment: RoutedDeployment,
  { headers, body, jsonBytes }: Pick<InferCall, 'headers' | 'body' | 'jsonBytes'>,
): UpstreamRequest {
  const forwarded: string[] = []
  for (const name of FORWARDED) {
    const value = headers[name]
    if (typeof value === 'string') forwarded.push(name, value)
  }
  return { ...servedAs(route.model, deployment), body, jsonBytes, headers: forwarded }
}

/** What the replica calls itself: a fallback may be of another model, `model@version` then. */
function servedAs(routeModel: string, { model, version }: RoutedDeployment): { model: string; version: string } {
  const at = version.lastIndexOf('@')
  if (at < 0) return { model: model ?? routeModel, version }
  return { model: version.slice(0, at), version: version.slice(at + 1) }
}
